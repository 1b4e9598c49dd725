"""A work queue of keys: each key at most once at a time, later if asked, later still after each failure."""

from __future__ import annotations

import asyncio
from collections import deque

_FIRST_RETRY = 0.1
_LONGEST_RETRY = 15.0


class WorkQueue:
    """Merges duplicates, and never hands one key to two workers."""

    def __init__(self) -> None:
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: str) -> None:
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Add the key by then; an earlier appointment stays."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, seconds)
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= when:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._ring, key)

    def _ring(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def retry(self, key: str) -> float:
        """Add the key after a pause that doubles with each failure in a row; says how long."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause: float = min(_FIRST_RETRY * 2 ** (failures - 1), _LONGEST_RETRY)
        self.add_after(key, pause)
        return pause

    def forgive(self, key: str) -> None:
        self._failures.pop(key, None)

    async def take(self) -> str:
        """The next key; it is this worker's until `done`."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._busy.add(key)
        return key

    def done(self, key: str) -> None:
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
