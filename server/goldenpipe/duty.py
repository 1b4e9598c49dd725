"""What a service does while it leads: opened for a term, in order, and closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from goldenpipe.changes import Changes
from goldenpipe.cluster.seen import WATCHED, Object, Seen
from goldenpipe.cluster.watcher import watch_kind
from goldenpipe.engine.engine import Engine, Parts
from goldenpipe.engine.logs import Logs
from goldenpipe.engine.objects import Objects
from goldenpipe.engine.progress import ProgressNotes
from goldenpipe.engine.records import Records
from goldenpipe.engine.restoring import Restoring
from goldenpipe.engine.screenshots import Screenshots
from goldenpipe.errors import Unavailable
from goldenpipe.images import Images, ImagesParts
from goldenpipe.metrics import Metrics
from goldenpipe.settings import Settings
from goldenpipe.store import store_of_term
from goldenpipe.tasks import guard
from goldenpipe.templating.bundle import Bundle
from goldenpipe_kube import Forbidden, Kube, KubeError

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
"""Seconds before the records of builds are read again."""


class Duty:
    """All that works. It can be stopped and still tell what it knows."""

    def __init__(self, settings: Settings, kube: Kube, metrics: Metrics, remaining: Callable[[], float]) -> None:
        self._settings, self._kube, self._metrics = settings, kube, metrics
        self._remaining = remaining
        self._knowing, self._acting = AsyncExitStack(), AsyncExitStack()

    async def begin(self, term: int) -> Images:
        """Open everything, with a store that knows all that the cluster tells."""
        await self.end()
        changes = Changes()
        self._knowing.callback(changes.ring)  # after the store has closed: who watches finds that out, and ends
        path = self._settings.data_dir / "goldenpipe.sqlite"
        store = await self._knowing.enter_async_context(store_of_term(path, term, on_change=changes.ring))
        records = Records(self._kube, store)
        await _restore(Restoring(self._kube, store, records, job_ttl_seconds=self._settings.cluster.job_ttl_seconds))
        seen, notes = Seen(runs=store.runs), ProgressNotes(store)
        logs = Logs(self._settings.data_dir / "logs", self._kube, notes.note)
        self._acting.push_async_callback(logs.close)
        screenshots = Screenshots(self._settings.data_dir / "screenshots", self._kube, seen)
        parts = Parts(
            store=store,
            kube=self._kube,
            seen=seen,
            objects=Objects(self._kube, seen, store, self._settings.cluster),
            records=records,
            logs=logs,
            screenshots=screenshots,
            metrics=self._metrics,
            max_builds=self._settings.max_builds,
        )
        engine = Engine(parts)
        self._acting.push_async_callback(self._drain, engine)
        self._act(engine, seen, logs, notes, changes)
        return Images(
            ImagesParts(
                store=store,
                kube=self._kube,
                seen=seen,
                engine=engine,
                records=records,
                logs=logs,
                screenshots=screenshots,
                changes=changes,
                settings=self._settings.cluster,
                file_urls=self._settings.local,
                read_bundle=partial(Bundle.read, self._settings.templates),
            )
        )

    async def stop(self) -> None:
        """Do nothing more; what is known can still be read."""
        await self._acting.aclose()

    async def end(self) -> None:
        await self.stop()
        await self._knowing.aclose()

    async def _drain(self, engine: Engine) -> None:
        """What is being worked on may come to its end as long as the term lasts."""
        await engine.queue.close(max(0.0, self._remaining()))

    def _act(self, engine: Engine, seen: Seen, logs: Logs, notes: ProgressNotes, changes: Changes) -> None:
        def on_object(obj: Object) -> None:
            if obj["kind"] == "Pod":
                logs.see(obj)
            changes.ring()

        for kind in WATCHED:
            watch = watch_kind(self._kube, kind, seen, on_build=engine.touch, on_object=on_object)
            self._acting.push_async_callback(cancel, guard(watch, f"watch {kind}"))
        self._acting.push_async_callback(cancel, guard(notes.write(), "progress"))
        self._acting.push_async_callback(cancel, asyncio.create_task(engine.start(), name="engine"))


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _restore(restoring: Restoring) -> None:
    """Again and again, until the cluster has told everything."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return await restoring.run()
        except Forbidden as error:
            message = f"the records of builds cannot be read: {error.message}; apply manifests/ for the service's Role"
            raise Unavailable(message) from error
        except KubeError as error:
            log.warning("the records of builds cannot be read now: %s", error.message)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
