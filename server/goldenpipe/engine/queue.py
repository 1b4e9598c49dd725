"""A work queue of keys: duplicates merge, one key is never worked on twice at a time, failing keys wait longer."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from goldenpipe.errors import PublicError
from goldenpipe_kube import KubeError

log = logging.getLogger(__name__)

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds before a key whose work failed is tried again; doubled each time."""


class WorkQueue:
    """Hands keys to `work`; everything happens on one event loop, so there are no locks."""

    def __init__(self, work: Callable[[str], Awaitable[None]]) -> None:
        self._work = work
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def add(self, key: str) -> None:
        """Work on the key soon; if it is being worked on, once more after that."""
        if self._closed:
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        else:
            self._running[key] = asyncio.create_task(self._run(key), name=f"build {key}")

    def add_later(self, key: str, seconds: float) -> None:
        """Work on the key after a while, or as soon as anything else adds it."""
        if not self._closed and key not in self._timers:
            self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._due, key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def close(self, seconds: float | None = None) -> None:
        """Let what is being worked on come to its end, for so long at most; start nothing more."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: str) -> None:
        try:
            await self._work(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_DELAY * 2 ** (failures - 1), LONGEST_DELAY) * random.uniform(0.75, 1.0)
            log.warning("build %s: %s; trying again in %.1f s", key, error, delay, exc_info=_is_bug(error))
            self._running.pop(key, None)
            self._again.discard(key)
            self.add_later(key, delay)
            return
        self._failures.pop(key, None)
        self._running.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)


def _is_bug(error: Exception) -> bool:
    return not isinstance(error, KubeError | PublicError)
