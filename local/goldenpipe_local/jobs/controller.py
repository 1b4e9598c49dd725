"""The controller's running parts: two watches that fill the caches and queue keys, and workers that reconcile."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from goldenpipe_kube import Conflict, Kube, KubeError, Listed, Object
from goldenpipe_local.jobs.backoff import Backoff
from goldenpipe_local.jobs.cache import Cache, controller_of
from goldenpipe_local.jobs.clock import Clock, utc_now
from goldenpipe_local.jobs.pods import uid_of
from goldenpipe_local.jobs.queue import WorkQueue
from goldenpipe_local.jobs.reconciler import Reconciler

log = logging.getLogger(__name__)

_WORKERS = 4
"""Jobs that are looked at side by side; each look is a few calls of a millisecond."""


class JobController:
    """Runs the Jobs of one namespace while its context is open."""

    def __init__(self, kube: Kube, *, backoff: Backoff | None = None, clock: Clock = utc_now) -> None:
        self._kube = kube
        self._jobs, self._pods, self._queue = Cache(), Cache(), WorkQueue()
        self._reconciler = Reconciler(
            kube, jobs=self._jobs, pods=self._pods, queue=self._queue, backoff=backoff or Backoff(), clock=clock
        )
        self._listed = {"Job": asyncio.Event(), "Pod": asyncio.Event()}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        watches = [self._follow("Job", self._jobs), self._follow("Pod", self._pods)]
        workers = [self._work() for _ in range(_WORKERS)]
        self._tasks = [asyncio.create_task(part, name="job controller") for part in (*watches, *workers)]
        for task in self._tasks:
            task.add_done_callback(_report_end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._queue.close()

    async def _follow(self, kind: str, cache: Cache) -> None:
        async for event in self._kube.watch(kind):
            if isinstance(event, Listed):
                for vanished in cache.keep_only(event.items):
                    self._queue_owner(kind, vanished)
                self._listed[kind].set()
                continue
            if event.type == "DELETED":
                cache.remove(event.object)
            else:
                cache.put(event.object)
            self._queue_owner(kind, event.object)

    def _queue_owner(self, kind: str, obj: Object) -> None:
        key = uid_of(obj) if kind == "Job" else controller_of(obj)
        if key is not None:
            self._queue.add(key)

    async def _work(self) -> None:
        # without all Pods in sight a Job would get one too many
        for listed in self._listed.values():
            await listed.wait()
        while True:
            key = await self._queue.take()
            try:
                await self._reconciler.reconcile(key)
                self._queue.forgive(key)
            except Conflict:
                # somebody else was first: the watch brings what they wrote
                self._queue.add_after(key, 0.05)
            except KubeError as error:
                pause = self._queue.retry(key)
                log.warning("Job %s: %s; looking again in %.1f s", self._name(key), error, pause)
            except Exception:
                pause = self._queue.retry(key)
                log.exception("Job %s: looking again in %.1f s after an unexpected failure", self._name(key), pause)
            finally:
                self._queue.done(key)

    def _name(self, key: str) -> str:
        job = self._jobs.get(key)
        return str(job["metadata"]["name"]) if job else key


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("a part of the job controller ended: Jobs stand still until a restart", exc_info=task.exception())
