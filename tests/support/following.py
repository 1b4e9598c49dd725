"""The service's own watches, read one object after the other, so that a test can look at each moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from goldenpipe.cluster.seen import WATCHED, Object, Seen
from goldenpipe.cluster.watcher import watch_kind
from goldenpipe_kube import Kube

PATIENCE = 20.0


class Follower:
    """What the service would have seen by now."""

    def __init__(self) -> None:
        self.seen = Seen(lambda _: True)
        self._news = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def of(cls, kube: Kube) -> AsyncIterator[Follower]:
        one = cls()
        tasks = [
            asyncio.create_task(watch_kind(kube, kind, one.seen, on_build=one._ring, on_object=one._ring))
            for kind in WATCHED
        ]
        try:
            await one.seen.wait_listed()
            yield one
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def has_seen(self, kind: str, name: str, obj: Object | None) -> None:
        """Return once this version of an object has been seen; None: once it is gone."""
        async with asyncio.timeout(PATIENCE):
            while not self._is_as_new(self.seen.get(kind, name), obj):
                self._news.clear()
                await self._news.wait()

    def _is_as_new(self, seen: Object | None, wanted: Object | None) -> bool:
        if seen is None or wanted is None:
            return seen is wanted
        return int(seen["metadata"]["resourceVersion"]) >= int(wanted["metadata"]["resourceVersion"])

    def _ring(self, _: object) -> None:
        self._news.set()
