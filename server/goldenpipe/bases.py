"""Looks at the first bytes of a base image when a build is asked for, so that its pipeline is chosen by content."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp

from goldenpipe.model.base_image import HEAD_BYTES, Base, base_by_content, base_by_name

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""The caller waits for this; a server that takes longer is looked at by the step, which has more patience."""
_MOST_REDIRECTS = 5


async def look_at_base(url: str) -> Base:
    """What the base image is; decided by its name where its bytes cannot be had at once."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            if parts.scheme == "file":
                head, size = await asyncio.to_thread(_read_file, Path(unquote(parts.path)))
            else:
                head, size = await _read_url(url)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        words = str(error) or type(error).__name__
        log.info("The base image at %s was not looked at: %s", parts.hostname or parts.path, words)
        return base_by_name(parts.path)
    return base_by_content(head, size, parts.path)


def _read_file(path: Path) -> tuple[bytes, int | None]:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES), path.stat().st_size


async def _read_url(url: str) -> tuple[bytes, int | None]:
    headers = {"Range": f"bytes=0-{HEAD_BYTES - 1}", "Accept-Encoding": "identity"}
    # no transparent decompression: the bytes as they are published
    async with (
        aiohttp.ClientSession(trust_env=True, auto_decompress=False) as session,
        session.get(url, headers=headers, max_redirects=_MOST_REDIRECTS) as answer,
    ):
        answer.raise_for_status()
        head = bytearray()
        while len(head) < HEAD_BYTES and (more := await answer.content.read(HEAD_BYTES - len(head))):
            head += more
        return bytes(head), _size(answer)


def _size(answer: aiohttp.ClientResponse) -> int | None:
    text = answer.headers.get("Content-Length", "")
    if answer.status == 206:
        text = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isdigit() else None
