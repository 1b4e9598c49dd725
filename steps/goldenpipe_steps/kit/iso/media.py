"""The bytes of an ISO as a file that can be read anywhere, whether they lie on a disk or behind HTTP ranges."""

from __future__ import annotations

import io
from collections.abc import Callable

BLOCK = 128 * 1024
"""Bytes of one read; directories lie side by side on a medium, so one block answers for many of them."""
MOST_BLOCKS = 512
"""64 MiB: far more than looking inside takes, and a bound for a server that sends nonsense."""

Fetch = Callable[[int, int], bytes]
"""From an offset so many bytes, fewer only at the end of the medium."""


class MediaTooOdd(Exception):
    """Looking inside would take more reads than any installer ISO needs."""


class Media(io.RawIOBase):
    """A read-only file over `fetch`; what was read once is kept."""

    def __init__(self, fetch: Fetch, size: int, *, most_blocks: int = MOST_BLOCKS) -> None:
        super().__init__()
        self._fetch, self.size = fetch, size
        self._blocks: dict[int, bytes] = {}
        self._most_blocks, self._at = most_blocks, 0
        self.requests = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self.size - self._at if size is None or size < 0 else size
        data = self.read_at(self._at, wanted)
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        if not length:
            return b""
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        self._load(first, last)
        data = b"".join(self._blocks[number] for number in range(first, last + 1))
        start = offset - first * BLOCK
        return data[start : start + length]

    def _load(self, first: int, last: int) -> None:
        missing = [number for number in range(first, last + 1) if number not in self._blocks]
        if not missing:
            return
        if len(self._blocks) + len(missing) > self._most_blocks:
            most = self._most_blocks * BLOCK >> 20
            message = f"knowing what it is would take reading more than {most} MiB of it"
            raise MediaTooOdd(message)
        start, end = missing[0], missing[-1]
        data = self._fetch(start * BLOCK, min((end - start + 1) * BLOCK, self.size - start * BLOCK))
        self.requests += 1
        for number in range(start, end + 1):
            self._blocks[number] = data[(number - start) * BLOCK : (number - start + 1) * BLOCK]
