"""Waiting for changes in a folder without polling: inotify(7) by ctypes, as Python's library has no call for it."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Self

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE, _IN_DELETE_SELF = 0x2, 0x80, 0x100, 0x200, 0x400
_MASK = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF


class FolderWatch:
    """Tells that something in a folder changed; changes between two waits are one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = asyncio.Event()
        self._descriptor = -1

    async def changed(self) -> None:
        """Return when anything changed since this call returned last (or since the watch began)."""
        await self._changed.wait()
        self._changed.clear()

    def __enter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise self._error("inotify_init1")
        if libc.inotify_add_watch(self._descriptor, os.fsencode(self._folder), _MASK) < 0:
            error = self._error("inotify_add_watch")
            os.close(self._descriptor)
            raise error
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        os.read(self._descriptor, 65536)
        self._changed.set()

    def _error(self, call: str) -> OSError:
        number = ctypes.get_errno()
        return OSError(number, f"{call}: {os.strerror(number)}", str(self._folder))
