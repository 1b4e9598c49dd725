"""List+watch -> keyed work queue -> reconcile: the shape of every controller on the node."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from goldenpipe_kube import KINDS, Conflict, Kube, KubeError, Listed, NotFound, Object
from goldenpipe_local.node.objects import name_of, uid_of

log = logging.getLogger(__name__)

FIRST_RETRY = 0.2
LONGEST_RETRY = 30.0
"""Seconds until a failed reconcile is tried again; doubled each time."""

_REMEMBERED = 1000
"""Deleted objects that are remembered, so that a late answer of an earlier request does not bring one back."""

MISSING_SECONDS = 20.0
"""How long a kind may be unknown to the API at the agent's start: a real one learns custom kinds after its own."""

Handler = Callable[[Object], None]


class KindMissing(Exception):
    """The API does not serve a kind that the node works with."""


class Informer:
    """All objects of one kind, kept up to date by a watch, and by what we wrote ourselves."""

    def __init__(self, kube: Kube, kind: str) -> None:
        self.kind = kind
        self.items: dict[str, Object] = {}
        self.synced = asyncio.Event()
        self._kube = kube
        self._handlers: list[Handler] = []
        self._gone: deque[str] = deque(maxlen=_REMEMBERED)
        self._released = False
        self._missing_since: float | None = None
        self._missing = asyncio.Event()

    async def listed(self) -> None:
        """Return once all there is has been told; `KindMissing` if the API does not know the kind."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self.synced, self._missing)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self.synced.is_set():
            kind = KINDS[self.kind]
            words = f"the API does not serve {kind.plural} ({kind.api_version}), which this node works with: "
            raise KindMissing(f"{words}install the definitions of KubeVirt and CDI, then start again")

    def _on_trouble(self, error: KubeError) -> None:
        """A watch goes on trying; at the start somebody waits for it."""
        if self.synced.is_set():
            return
        log.warning("%s cannot be listed, trying again: %s", self.kind, error)
        now = asyncio.get_running_loop().time()
        if not isinstance(error, NotFound):
            self._missing_since = None
            return
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since >= MISSING_SECONDS:
            self._missing.set()

    def subscribe(self, handler: Handler) -> None:
        """Call the handler with each object that is new, changed or gone."""
        self._handlers.append(handler)

    def release(self) -> None:
        """From now on tell the handlers, beginning with all there is.

        Until all informers are synced nobody may decide: what is not seen yet looks like what is not there.
        """
        self._released = True
        for obj in list(self.items.values()):
            self._tell(obj)

    def get(self, name: str, uid: str | None = None) -> Object | None:
        found = self.items.get(name)
        return found if found and (uid is None or uid_of(found) == uid) else None

    def saw(self, obj: Object) -> Object:
        """Take in an object that a request returned, so that the next decision knows it before the watch tells."""
        known = self.items.get(name_of(obj))
        if uid_of(obj) not in self._gone and (known is None or _version(known) < _version(obj)):
            self.items[name_of(obj)] = obj
        return obj

    async def run(self) -> None:
        async for event in self._kube.watch(self.kind, on_trouble=self._on_trouble):
            if isinstance(event, Listed):
                self._compare({uid_of(item) for item in event.items})
                self.synced.set()
            elif event.type == "DELETED":
                self._forget(event.object)
            else:
                self.saw(event.object)
                self._tell(event.object)

    def _compare(self, present: set[str]) -> None:
        for gone in [item for item in self.items.values() if uid_of(item) not in present]:
            self._forget(gone)

    def _forget(self, obj: Object) -> None:
        self._gone.append(uid_of(obj))
        known = self.items.get(name_of(obj))
        if known and uid_of(known) == uid_of(obj):
            del self.items[name_of(obj)]
        self._tell(obj)

    def _tell(self, obj: Object) -> None:
        if not self._released:
            return
        for handler in self._handlers:
            handler(obj)


class Reconciler:
    """Runs `reconcile(key)` for each queued key: never twice at a time for one key, again after a failure.

    `reconcile` may return seconds after which it wants to look again.
    """

    def __init__(self, name: str, reconcile: Callable[[str], Awaitable[float | None]]) -> None:
        self._name = name
        self._reconcile = reconcile
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._dirty: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._closed = False

    def enqueue(self, key: str) -> None:
        if self._closed:
            return
        self._cancel_timer(key)
        if key in self._tasks:
            self._dirty.add(key)
        else:
            self._tasks[key] = asyncio.create_task(self._work(key), name=f"{self._name} {key}")

    def enqueue_after(self, key: str, seconds: float) -> None:
        """Queue the key later; a shorter wait that is under way wins."""
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if self._closed or (known and known.when() <= loop.time() + seconds):
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self.enqueue, key)

    async def close(self) -> None:
        self._closed = True
        for key in list(self._timers):
            self._cancel_timer(key)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: str) -> None:
        try:
            again = None
            while True:
                self._dirty.discard(key)
                again = await self._once(key)
                if key not in self._dirty:
                    break
        finally:
            del self._tasks[key]
        if again is not None:
            self.enqueue_after(key, again)

    async def _once(self, key: str) -> float | None:
        try:
            again = await self._reconcile(key)
        except Conflict as error:
            log.debug("%s %s changed under our hands: %s", self._name, key, error)
        except KubeError as error:
            log.warning("%s %s will be tried again: %s", self._name, key, error)
        except Exception:
            log.exception("%s %s failed and will be tried again", self._name, key)
        else:
            self._failures.pop(key, None)
            return again
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return float(min(FIRST_RETRY * 2**count, LONGEST_RETRY))

    def _cancel_timer(self, key: str) -> None:
        with contextlib.suppress(KeyError):
            self._timers.pop(key).cancel()


def key_of(obj: Object) -> str:
    """Name and uid: an object that was deleted and made anew under its name is another one."""
    return f"{name_of(obj)}/{uid_of(obj)}"


def split_key(key: str) -> tuple[str, str]:
    name, _, uid = key.partition("/")
    return name, uid


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
