"""What a real cluster's controllers do around the API: bind Pods, collect garbage, empty namespaces, forget Events.

Each is one idempotent look at what there is, run again whenever something has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from goldenpipe_local.api.store import Change, Store

log = logging.getLogger(__name__)


class Worker:
    """Runs a function after changes that concern it: at once, and never twice at the same time."""

    def __init__(
        self, store: Store, *, name: str, work: Callable[[], None], concerns: Callable[[Change], bool]
    ) -> None:
        self._store = store
        self._name = name
        self._work = work
        self._concerns = concerns
        self._wake = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.enter_context(self._store.listening(self._take))
        self._wake.set()
        task = asyncio.create_task(self._run(), name=self._name)
        self._stack.push_async_callback(_cancel, task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _take(self, change: Change) -> None:
        if self._concerns(change):
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                self._work()
            except Exception:
                # the next change tries again; one bad object must not stop the cluster
                log.exception("the %s failed", self._name)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
