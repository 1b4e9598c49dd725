"""What needs the store is the leader's to answer: a service that stands by hands the request on."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import aiohttp
from aiohttp import web

from goldenpipe.api.keys import IMAGES, ROLE
from goldenpipe.api.middleware import Handler
from goldenpipe.errors import NoLeader

log = logging.getLogger(__name__)

OWN = ("/api/v1/health", "/metrics")
"""What every service answers for itself."""
HANDED_ON = "X-GoldenPipe-Handed-On"
"""Set on a request that was handed on, so that two services never play ball with one."""
_READS = ("GET", "HEAD")
_CONNECT_SECONDS = 3.0
_HOP_BY_HOP = ("connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")


@web.middleware
async def led(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer if this service leads, hand on if another does."""
    if request.match_info.http_exception is not None or request.path in OWN:
        return await handler(request)
    role = request.app[ROLE]
    leader = None if role.leads else role.elsewhere()
    if leader is not None and HANDED_ON not in request.headers:
        return await _hand_on(request, leader)
    # while nobody leads, the one that did last may be asked, but takes no orders
    if role.images is None or not (role.leads or (leader is None and request.method in _READS)):
        raise NoLeader
    request[IMAGES] = role.images
    return await handler(request)


async def _hand_on(request: web.Request, leader: str) -> web.StreamResponse:
    headers = {**_end_to_end(request.headers), HANDED_ON: "1"}
    limit = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    url = leader + request.raw_path
    body = await request.read() if request.can_read_body else None
    async with aiohttp.ClientSession(timeout=limit, auto_decompress=False) as session:
        try:
            answer = await session.request(request.method, url, headers=headers, data=body, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("%s %s could not be handed on to %s: %s", request.method, request.path, leader, error)
            raise NoLeader from error
        async with answer:
            return await _hand_back(request, answer)


async def _hand_back(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """As it comes; if it breaks off, so does this: a client must not take a part for the whole."""
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_end_to_end(answer.headers))
    response.content_length = answer.content_length
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, OSError) as error:
        log.info("%s %s broke off: %s", request.method, request.path, error)
        if request.transport is not None:
            request.transport.abort()
    return response


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
