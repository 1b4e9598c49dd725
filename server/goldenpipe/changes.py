"""Wakes those who wait for anything to change, so that nobody has to ask again and again."""

from __future__ import annotations

import asyncio


class Changes:
    """A doorbell: `ring` wakes everybody who waits; who comes late hears only the next ring."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def next(self) -> asyncio.Future[None]:
        """A future for the next ring. Take it before looking, wait for it after: then nothing is missed.

        All share it, so wait by `asyncio.wait`: with a plain await, one who is cancelled would cancel all others.
        """
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting
