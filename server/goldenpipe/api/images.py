"""`/api/v1/images`."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientError, web

from goldenpipe.api.documents import (
    created_document,
    image_document,
    status_document,
    summary_document,
)
from goldenpipe.api.keys import IMAGES
from goldenpipe.errors import Fault, InvalidRequest, PublicError, UnsupportedMediaType
from goldenpipe.model.build import Build
from goldenpipe.model.status import BuildState, ImageStatus, Target, image_status
from goldenpipe.store.store import Filter

logger = logging.getLogger(__name__)

LARGEST_PAGE = 500
LIST_PARAMETERS = {"label", "status", "os_type", "limit", "continue"}


async def create(request: web.Request) -> web.Response:
    build = await request[IMAGES].create(await _json(request))
    return web.json_response(
        {"message": "Golden image creation started", "image": created_document(build)},
        status=202,
        headers={"Location": f"/api/v1/images/{build.name}"},
    )


async def select(request: web.Request) -> web.Response:
    wanted = parse_filter(request)
    limit = wanted.limit
    builds = await request[IMAGES].select(wanted)
    document: dict[str, Any] = {"images": [summary_document(build) for build in builds], "count": len(builds)}
    if limit is not None and len(builds) == limit:
        document["continue"] = base64.urlsafe_b64encode(builds[-1].name.encode()).decode()
    return web.json_response(document)


async def get(request: web.Request) -> web.Response:
    return web.json_response(image_document(await request[IMAGES].get(request.match_info["name"])))


async def status(request: web.Request) -> web.StreamResponse:
    images, name = request[IMAGES], request.match_info["name"]
    if not _flag(request, "watch"):
        return web.json_response(status_document(await images.get(name)))
    await images.get(name)
    headers = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-cache"}
    return await _stream(request, web.StreamResponse(headers=headers), _lines(images.watch(name)))


async def delete(request: web.Request) -> web.Response:
    await request[IMAGES].delete(request.match_info["name"])
    return web.json_response({"message": "Image deletion started"})


async def log(request: web.Request) -> web.StreamResponse:
    name, step = request.match_info["name"], request.match_info["step"]
    chunks = await request[IMAGES].log(name, step, follow=_flag(request, "follow"))
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"}
    return await _stream(request, web.StreamResponse(headers=headers), chunks)


async def screenshot(request: web.Request) -> web.Response:
    picture = await request[IMAGES].screenshot(request.match_info["name"])
    return web.Response(body=picture, content_type="image/png", headers={"Cache-Control": "no-store"})


async def export(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    async with request[IMAGES].export(name) as download:
        suffix = {"gzip": "raw.gz"}.get(download.format, download.format)
        answer = web.StreamResponse(
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Disposition": f'attachment; filename="{name}.{suffix}"',
                "X-Disk-Format": download.format,
            }
        )
        if download.length is not None:
            answer.content_length = download.length
        return await _stream(request, answer, download.chunks)


async def _stream(request: web.Request, answer: web.StreamResponse, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send the chunks; if they break off, so does the connection: a client must not take a part for the whole."""
    await answer.prepare(request)
    try:
        async for chunk in chunks:
            await answer.write(chunk)
        await answer.write_eof()
    except (PublicError, ClientError, OSError) as error:
        logger.warning("%s %s broke off: %s", request.method, request.path, error)
        if request.transport is not None:
            request.transport.abort()
    return answer


async def _lines(builds: AsyncIterator[Build]) -> AsyncIterator[bytes]:
    """A status document a line, each time it says something new."""
    told: dict[str, Any] | None = None
    async for build in builds:
        document = status_document(build)
        if document != told:
            told = document
            yield json.dumps(document).encode() + b"\n"


def parse_filter(request: web.Request) -> Filter:
    """The list's parameters; all faults at once, like everywhere."""
    query, faults = request.query, list[Fault]()
    faults += [Fault(key, "there is no such parameter") for key in query if key not in LIST_PARAMETERS]
    labels = [tuple(text.split("=", 1)) for text in query.getall("label", [])]
    if any(len(pair) != 2 for pair in labels):
        faults.append(Fault("label", "must be key=value"))
    states, target = _states(query.get("status"), faults)
    os_type = query.get("os_type")
    if os_type not in (None, "linux", "windows"):
        faults.append(Fault("os_type", "must be linux or windows"))
    limit = _limit(query.get("limit"), faults)
    after = _after(query.get("continue"), faults)
    if faults:
        raise InvalidRequest.of(faults)
    pairs = tuple((pair[0], pair[1]) for pair in labels)
    return Filter(labels=pairs, states=states, target=target, os_type=os_type, limit=limit, after=after)


def _states(text: str | None, faults: list[Fault]) -> tuple[tuple[BuildState, ...] | None, Target | None]:
    """The table of `image_status`, read backwards."""
    if text is None:
        return None, None
    if text == ImageStatus.DELETING:
        return None, Target.ABSENT
    states = tuple(state for state in BuildState if image_status(state, Target.PRESENT) == text)
    if not states:
        faults.append(Fault("status", f"must be one of {', '.join(ImageStatus)}"))
    return states, Target.PRESENT


def _limit(text: str | None, faults: list[Fault]) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= LARGEST_PAGE:
        faults.append(Fault("limit", f"must be a whole number from 1 to {LARGEST_PAGE}"))
        return None
    return int(text)


def _after(text: str | None, faults: list[Fault]) -> str | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        faults.append(Fault("continue", "is not the `continue` of an earlier answer"))
        return None


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "false").lower() in ("true", "1", "")


async def _json(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise UnsupportedMediaType
    try:
        return json.loads(await request.text())
    except (ValueError, LookupError, RecursionError) as error:
        message = f"the body is not JSON: {error}"
        raise InvalidRequest(message) from error
