"""Downloads over HTTP into a file, resumed where they broke off, hashed on the way."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Self

import aiohttp
from yarl import URL

from goldenpipe_local.node.disks.problems import ChecksumMismatch, ImportProblem, require_space

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there, and how many it will be if that is known."""

Found = Callable[[], Awaitable[None]]
"""Called once the source is there, before its content is read."""

_BLOCK = 1 << 20
_RESUMES = 5
"""How often in a row a broken transfer goes on without a single byte of progress."""
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_ALGORITHMS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """What the downloaded bytes must hash to."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        algorithm, _, digest = text.strip().lower().partition(":")
        if len(digest) != _ALGORITHMS.get(algorithm) or not re.fullmatch("[0-9a-f]+", digest):
            words = f"invalid checksum {text!r}: write it as sha256:<64 hex digits> (or md5, sha1, sha512)"
            raise ImportProblem(words)
        return cls(algorithm=algorithm, digest=digest)

    def check(self, actual: str) -> None:
        if actual != self.digest:
            raise ChecksumMismatch(self.algorithm, self.digest, actual)


async def download(url: str, target: Path, checksum: Checksum | None, progress: Progress, found: Found) -> None:
    """Fetch the URL into `target`; raises `ImportProblem` or `ChecksumMismatch`."""
    transfer = _Transfer(url, target, checksum, progress, found)
    # no transparent decompression: the checksum is over the bytes as they are published
    async with aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False) as session:
        await transfer.run(session)


def hash_file(path: Path, checksum: Checksum) -> None:
    """Check a local file (blocking)."""
    with path.open("rb") as file:
        checksum.check(hashlib.file_digest(file, checksum.algorithm).hexdigest())


class _Transfer:
    """One download over as many requests as it takes."""

    def __init__(self, url: str, target: Path, checksum: Checksum | None, progress: Progress, found: Found) -> None:
        self._url = url
        self._target = target
        self._checksum = checksum
        self._hash = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        self._progress = progress
        self._found: Found | None = found
        self._done = 0
        self._total: int | None = None
        self._validator: str | None = None

    async def run(self, session: aiohttp.ClientSession) -> None:
        with self._target.open("wb") as file:
            idle = 0
            while True:
                before = self._done
                try:
                    await self._request(session, file)
                    break
                except (aiohttp.ClientError, TimeoutError) as error:
                    idle = idle + 1 if self._done == before else 0
                    if self._validator is None or self._done == 0 or idle >= _RESUMES:
                        raise self._failed(error) from error
        if self._checksum and self._hash:
            self._checksum.check(self._hash.hexdigest())

    async def _request(self, session: aiohttp.ClientSession, file: IO[bytes]) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self._done and self._validator:
            headers |= {"Range": f"bytes={self._done}-", "If-Range": self._validator}
        async with session.get(self._url, headers=headers) as answer:
            self._begin(answer, file)
            if self._found:
                found, self._found = self._found, None
                await found()
            async for block in _blocks(answer.content):
                await asyncio.to_thread(self._write, file, block)
                self._progress(self._done, self._total)
        if self._total is not None and self._done < self._total:
            words = f"the connection ended after {self._done} of {self._total} bytes"
            raise aiohttp.ClientPayloadError(words)

    def _begin(self, answer: aiohttp.ClientResponse, file: IO[bytes]) -> None:
        if answer.status == HTTPStatus.PARTIAL_CONTENT and self._done:
            return
        if answer.status != HTTPStatus.OK:
            status = f"{answer.status} {answer.reason}"
            words = f"Unable to connect to http data source: expected status code 200, got {answer.status}. "
            raise ImportProblem(f"{words}Status: {status}")
        self._start_over(file)
        self._total = answer.content_length
        if self._total is not None:
            require_space(self._target.parent, self._total)
        strong = not answer.headers.get("ETag", "W/").startswith("W/")
        if answer.headers.get("Accept-Ranges") == "bytes":
            self._validator = answer.headers["ETag"] if strong else answer.headers.get("Last-Modified")

    def _start_over(self, file: IO[bytes]) -> None:
        file.seek(0)
        file.truncate()
        self._done = 0
        if self._checksum:
            self._hash = hashlib.new(self._checksum.algorithm, usedforsecurity=False)

    def _write(self, file: IO[bytes], block: bytes) -> None:
        file.write(block)
        if self._hash:
            self._hash.update(block)
        self._done += len(block)

    def _failed(self, error: Exception) -> ImportProblem:
        words = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorError):
            refused = isinstance(error.os_error, ConnectionRefusedError)
            words = "connect: connection refused" if refused else str(error.os_error.strerror or error)
            address = f"{error.host}:{error.port}"
            words = f"dial tcp {address}: {words}"
        shown = URL(self._url).with_user(None)  # a password may be in it
        return ImportProblem(f'Unable to connect to http data source: HTTP request errored: Get "{shown}": {words}')


async def _blocks(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The content in blocks of about a MiB, so that a thread is not woken for each packet."""
    block = bytearray()
    began = time.monotonic()
    async for chunk in content.iter_any():
        block += chunk
        if len(block) >= _BLOCK or time.monotonic() - began > 1:
            yield bytes(block)
            block.clear()
            began = time.monotonic()
    if block:
        yield bytes(block)
