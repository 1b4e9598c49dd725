"""Watches the serial console of a machine for what only it tells: a kernel panic, a guest that has come up."""

from __future__ import annotations

import re
from pathlib import Path

from goldenpipe_local.node.inotify import FolderWatch

_PANIC = re.compile(rb"(?:end )?Kernel panic - not syncing[^\r\n]*")
_UP = re.compile(rb"login: |Reached target .*(?:Multi-User|Cloud-init)|Cloud-init v\. \S+ finished")
_KEEP = 4096
"""Bytes that are looked at again, as a line may come in pieces."""


class SerialWatch:
    """Reads the log from where this run of the machine began."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._position = offset
        self._tail = b""
        self.came_up = False
        """Whether the guest got as far as a login prompt."""

    async def panic(self) -> str:
        """Wait for a kernel panic and return its line."""
        with FolderWatch(self._path.parent) as watch:
            while True:
                line = self._look()
                if line:
                    return line
                await watch.changed()

    def _look(self) -> str | None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return None
        self._position += len(data)
        text = self._tail + data
        self._tail = text[-_KEEP:]
        self.came_up = self.came_up or bool(_UP.search(text))
        match = _PANIC.search(text)
        # the line must have ended, or we would report half of it
        if match and match.end() < len(text):
            return match[0].decode(errors="replace").strip()
        return None
