"""Progress that steps print, written to the store a few times a second at most."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from goldenpipe.store import Store

_PAUSE = 0.25
"""Seconds between two writes: a package manager prints hundreds of lines, and nobody reads that fast."""


class ProgressNotes:
    """The latest word of each step that has something new to say."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._latest: dict[tuple[str, str], tuple[int, str]] = {}
        self._news = asyncio.Event()

    def note(self, build: str, step: str, percent: int, message: str) -> None:
        self._latest[build, step] = (percent, message)
        self._news.set()

    async def write(self) -> NoReturn:
        """Write what is new, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            latest, self._latest = self._latest, {}
            for (build, step), (percent, message) in latest.items():
                await self._store.note_progress(build, step, progress=percent, message=message)
            await asyncio.sleep(_PAUSE)
