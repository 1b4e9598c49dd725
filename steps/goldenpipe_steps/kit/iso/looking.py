"""Looking inside an ISO: on this machine's disk, or at its URL before anything large is downloaded."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from goldenpipe_steps.kit.errors import Permanent, StepError, Temporary
from goldenpipe_steps.kit.iso.inspect import inspect
from goldenpipe_steps.kit.iso.media import Media, MediaTooOdd
from goldenpipe_steps.kit.iso.medium import Medium
from goldenpipe_steps.kit.iso.reading import NotAnIso, open_local, open_tree
from goldenpipe_steps.kit.sources import LIMITS, Source, redacted, refused, unreachable

_TRIES = 3
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What the medium is, and how many reads it took to know."""

    medium: Medium
    requests: int


def look_at(media: Media, place: str) -> Looked:
    """What the medium is (blocking); `Permanent` where its bytes are no ISO that can be read."""
    try:
        medium = inspect(*open_tree(media))
    except (NotAnIso, MediaTooOdd, struct.error) as error:
        message = f"{place} cannot be read as an ISO: {error}"
        raise Permanent(message, hint="Is the file whole? Compare it with the published checksum.") from error
    return Looked(medium=medium, requests=media.requests)


def look_at_file(path: Path, place: str) -> Looked:
    """An ISO of this machine (blocking)."""
    try:
        with open_local(path) as media:
            return look_at(media, place)
    except OSError as error:
        message = f"the file {path} cannot be read: {error.strerror or error}"
        raise Permanent(message) from error


async def look_at_url(url: str, source: Source) -> Looked | None:
    """An ISO at its URL; None where the server gives no ranges, so that only a download can tell."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return await asyncio.to_thread(look_at_file, Path(unquote(parts.path)), redacted(url))
    if not source.has_ranges or not source.total:
        return None
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(timeout=LIMITS, trust_env=True, auto_decompress=False) as session:
        total = source.total

        def fetch(offset: int, length: int) -> bytes:
            return asyncio.run_coroutine_threadsafe(_range(session, url, offset, length), loop).result()

        return await asyncio.to_thread(look_at, Media(fetch, total), redacted(url))


async def _range(session: aiohttp.ClientSession, url: str, offset: int, length: int) -> bytes:
    """One range; trouble that may pass is tried again."""
    for attempt in range(1, _TRIES + 1):
        try:
            return await _range_once(session, url, offset, length)
        except Temporary:
            if attempt == _TRIES:
                raise
            await asyncio.sleep(_PAUSE_SECONDS * attempt)
    message = "unreachable"
    raise AssertionError(message)


async def _range_once(session: aiohttp.ClientSession, url: str, offset: int, length: int) -> bytes:
    headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
    try:
        async with session.get(url, headers=headers) as answer:
            if answer.status >= 400:
                raise refused(url, answer.status, answer.reason or "")
            if answer.status != 206:
                message = f"{redacted(url)} gave a range before and now answers {answer.status}"
                raise Temporary(message, hint="Is there more than one server behind this name?")
            data = await answer.content.readexactly(length)
    except StepError:
        raise
    except asyncio.IncompleteReadError as error:
        message = f"{redacted(url)} broke off in the middle of a range"
        raise Temporary(message) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise unreachable(url, error) from error
    return data
