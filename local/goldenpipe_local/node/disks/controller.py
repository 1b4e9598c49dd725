"""CDI: makes a claim of each DataVolume and fills it."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from goldenpipe_kube import Conflict, Forbidden, Kube, NotFound, Object
from goldenpipe_local.node.disks import status as write
from goldenpipe_local.node.disks.importer import Volume
from goldenpipe_local.node.disks.problems import ChecksumMismatch, ImportProblem
from goldenpipe_local.node.disks.sources import Plan, SourceBusy, SourceRefused, Sources
from goldenpipe_local.node.disks.usage import FINAL_PHASES, is_in_use
from goldenpipe_local.node.events import Events
from goldenpipe_local.node.objects import find_condition, is_deleting, name_of, phase_of, uid_of
from goldenpipe_local.node.reconciling import Informer, Reconciler, key_of, split_key

log = logging.getLogger(__name__)

_COMPONENT = "datavolume-import-controller"
PROGRESS_SECONDS = 1.0
"""Between two looks at how far an import is; CDI looks every two seconds, so that one of a small file never tells."""
BUSY_RETRY = 15.0
"""Seconds; what makes a busy source free is watched, this is for what is not (DataSources)."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 10.0, 300.0
"""Seconds, as the kubelet waits before it restarts an importer; the first restart comes at once."""


class DataVolumeController:
    """Runs one import at a time for each DataVolume that is not finished."""

    def __init__(
        self,
        kube: Kube,
        events: Events,
        folder: Path,
        *,
        volumes: Informer,
        claims: Informer,
        instances: Informer,
    ) -> None:
        self._kube = kube
        self._events = events
        self._folder = folder
        self._volumes = volumes
        self._claims = claims
        self._instances = instances
        self._sources = Sources(
            kube=kube,
            folder=folder,
            is_in_use=lambda name: is_in_use(name, instances.items.values()),
            find_claim=claims.get,
            find_volume=volumes.get,
        )
        self._queue = Reconciler("datavolume", self.reconcile)
        self._imports: dict[str, asyncio.Task[None]] = {}
        volumes.subscribe(self._on_volume)
        claims.subscribe(self._on_claim)
        instances.subscribe(lambda _: self._enqueue_waiting())

    async def close(self) -> None:
        await self._queue.close()
        for name in list(self._imports):
            await self.cancel(name)

    async def cancel(self, name: str) -> None:
        """Stop the import into a claim and wait until it has let go of the files."""
        task = self._imports.pop(name, None)
        if task:
            task.cancel()
            await asyncio.wait([task])

    def _on_volume(self, volume: Object) -> None:
        self._queue.enqueue(key_of(volume))
        if phase_of(volume) in FINAL_PHASES:
            self._enqueue_waiting()

    def _on_claim(self, claim: Object) -> None:
        """A claim that was taken away from its import is made anew."""
        volume = self._volumes.get(name_of(claim))
        if volume and phase_of(volume) not in FINAL_PHASES:
            self._queue.enqueue(key_of(volume))

    def _enqueue_waiting(self) -> None:
        for volume in self._volumes.items.values():
            if phase_of(volume) not in FINAL_PHASES and name_of(volume) not in self._imports:
                self._queue.enqueue(key_of(volume))

    async def reconcile(self, key: str) -> float | None:
        name, uid = split_key(key)
        volume = self._volumes.get(name, uid)
        if volume is None or is_deleting(volume):
            if self._volumes.get(name) in (None, volume):
                await self.cancel(name)
            return None
        if phase_of(volume) in FINAL_PHASES or name in self._imports:
            return None
        try:
            plan = await self._sources.plan(volume)
        except SourceRefused as refusal:
            await self._pend(volume, "ErrClaimNotValid", str(refusal), warning=True)
            return None
        except SourceBusy as wait:
            await self._pend(volume, "SourceInUse", str(wait))
            return BUSY_RETRY
        if await self._ensure_claim(volume, plan):
            self._imports[name] = asyncio.create_task(self._import(key, plan), name=f"import of {name}")
        return None

    async def _pend(self, volume: Object, reason: str, message: str, *, warning: bool = False) -> None:
        status = write.pending_status(volume, reason, message)
        if status != {key: (volume.get("status") or {}).get(key) for key in status}:
            self._tell(volume, reason, message, warning=warning)
            await self._write(volume, status)

    async def _ensure_claim(self, volume: Object, plan: Plan) -> bool:
        """Whether the claim is there, ours and bound."""
        name = name_of(volume)
        try:
            claim = self._claims.saw(await self._kube.create(write.claim_of(volume, plan.size_text)))
        except Conflict:
            claim = self._claims.saw(await self._kube.get("PersistentVolumeClaim", name))
        except Forbidden as error:
            await self._tell_refused(volume, error.message)
            return False
        if uid_of(volume) not in [each["uid"] for each in claim["metadata"].get("ownerReferences") or []]:
            message = f"PVC {name} exists and does not belong to this DataVolume"
            await self._pend(volume, "ErrResourceExists", message, warning=True)
            self._queue.enqueue_after(key_of(volume), BUSY_RETRY)
            return False
        if is_deleting(claim):
            self._queue.enqueue_after(key_of(volume), 1.0)
            return False
        if (find_condition(volume, "Bound") or {}).get("status") in (None, "Unknown"):
            volume = await self._write(volume, write.pending_status(volume, "Pending", f"PVC {name} Pending"))
        if phase_of(claim) != "Bound":
            if write.waits_for_consumer(volume) and not is_in_use(name, self._instances.items.values()):
                if phase_of(volume) != "WaitForFirstConsumer":
                    await self._write(volume, write.waiting_status(volume))
                return False
            patch = {"status": write.bound_claim_status(claim)}
            self._claims.saw(await self._kube.patch("PersistentVolumeClaim", name, patch, subresource="status"))
            self._tell(volume, "Bound", f"PVC {name} Bound")
        return True

    async def _tell_refused(self, volume: Object, message: str) -> None:
        """A quota, as CDI tells it; it may be free again later."""
        status = write.unclaimed_status(volume, "ErrExceededQuota", message)
        if find_condition(volume, "Bound") is None:
            self._tell(volume, "ErrExceededQuota", message, warning=True)
            await self._write(volume, status)
        self._queue.enqueue_after(key_of(volume), BUSY_RETRY)

    async def _import(self, key: str, plan: Plan) -> None:
        name, uid = split_key(key)
        try:
            await self._import_until_done(name, uid, plan)
        except NotFound:
            log.debug("datavolume %s went away during its import", name)
        except Exception:
            log.exception("import of %s ended in a bug and will be tried again", name)
            self._queue.enqueue_after(key, _FIRST_BACKOFF)
        finally:
            if self._imports.get(name) is asyncio.current_task():
                del self._imports[name]

    async def _import_until_done(self, name: str, uid: str, plan: Plan) -> None:
        disk = Volume(self._folder / name)
        backoff, restarts = 0.0, 0
        while (volume := self._volumes.get(name, uid)) is not None:
            try:
                if not disk.is_filled_for(uid):
                    await self._attempt(volume, disk, plan, restarts)
            except ImportProblem as problem:
                await self._tell_problem(self._volumes.get(name, uid) or volume, plan, str(problem))
            except ChecksumMismatch as mismatch:
                await self._fail(self._volumes.get(name, uid) or volume, str(mismatch))
                return
            else:
                await self._succeed(self._volumes.get(name, uid) or volume, disk, plan)
                return
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LONGEST_BACKOFF) or _FIRST_BACKOFF
            restarts = _restarts_of(self._volumes.get(name, uid)) + 1

    async def _attempt(self, volume: Object, disk: Volume, plan: Plan, restarts: int) -> None:
        name = name_of(volume)
        if phase_of(volume) not in (plan.scheduled, plan.in_progress):
            for status in write.scheduled_statuses(volume, plan.scheduled):
                volume = await self._write(volume, status)
            self._tell(volume, plan.scheduled, f"{plan.verb} into {name} scheduled")
        if phase_of(volume) != plan.in_progress:
            self._tell(volume, plan.in_progress, f"{plan.verb} into {name} in progress")
        volume = await self._write(volume, write.transferring_status(volume, plan.in_progress, restarts))

        async def found() -> None:
            if not restarts:
                await self._tell_second_importer(volume, plan)

        progress = _Progress()
        teller = asyncio.create_task(self._tell_progress(volume, progress))
        try:
            await disk.fill(plan.source, plan.size, uid_of(volume), progress.update, found)
        finally:
            teller.cancel()
            await asyncio.wait([teller])

    async def _tell_second_importer(self, volume: Object, plan: Plan) -> None:
        """CDI looks at a source with one Pod and fetches it with another; here the one goes on."""
        volume = await self._write(volume, write.scratch_status(volume, plan.in_progress))
        volume = await self._write(volume, write.creating_status(volume, plan.scheduled))
        await self._write(volume, write.transferring_status(volume, plan.in_progress, 0))

    async def _tell_progress(self, volume: Object, progress: _Progress) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            await self._write(volume, write.progress_status(await progress.next()))

    async def _tell_problem(self, volume: Object, plan: Plan, message: str) -> None:
        known = write.running_message(volume)
        await self._write(volume, write.problem_status(volume, plan.in_progress, message))
        if known != message:
            self._tell(volume, "Error", message, warning=True)
            log.warning("import of %s failed and will be tried again: %s", name_of(volume), message)

    async def _fail(self, volume: Object, message: str) -> None:
        await self._write(volume, write.failed_status(volume, "ChecksumError", message))
        self._tell(volume, "ChecksumError", message, warning=True)
        self._tell(volume, "ImportFailed", f"Failed to import into PVC {name_of(volume)}", warning=True)

    async def _succeed(self, volume: Object, disk: Volume, plan: Plan) -> None:
        name = name_of(volume)
        patch = {"metadata": {"annotations": {write.ALLOCATED_BYTES: str(disk.allocated())}}}
        self._claims.saw(await self._kube.patch("PersistentVolumeClaim", name, patch))
        message = "Import Complete" if plan.verb == "Import" else "Clone Complete"
        volume = await self._write(volume, write.completed_status(volume, plan.in_progress, message))
        await self._write(volume, write.succeeded_status(volume, message))
        self._tell(volume, f"{plan.verb}Succeeded", f"Successfully {_DONE[plan.verb]} into PVC {name}")

    async def _write(self, volume: Object, status: Object) -> Object:
        patch = {"status": status}
        return self._volumes.saw(await self._kube.patch("DataVolume", name_of(volume), patch, subresource="status"))

    def _tell(self, volume: Object, reason: str, message: str, *, warning: bool = False) -> None:
        self._events.tell(volume, reason, message, component=_COMPONENT, warning=warning)


def _restarts_of(volume: Object | None) -> int:
    return int(((volume or {}).get("status") or {}).get("restartCount") or 0)


_DONE = {"Import": "imported", "Clone": "cloned"}


class _Progress:
    """The latest percentage, for one who looks at his own pace."""

    def __init__(self) -> None:
        self._percent = 0.0
        self._news = asyncio.Event()
        self._began = time.monotonic()

    def update(self, done: int, total: int | None) -> None:
        if total:
            self._percent = 100.0 * done / total
            self._news.set()

    async def next(self) -> float:
        await self._news.wait()
        self._news.clear()
        return self._percent
