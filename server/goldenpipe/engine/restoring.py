"""Store and cluster told apart: what the store does not know, or knows less of, is made again from the cluster.

It runs each time that a service begins to lead, before anybody is answered. With an empty store it makes everything
anew; with the leader's own it finds nothing to do, unless a power cut took the store's last moments.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from goldenpipe.cluster.labels import BUILD, label
from goldenpipe.engine.record import HISTORY, Index, with_history
from goldenpipe.engine.records import ABSENT, Records
from goldenpipe.errors import AlreadyExists
from goldenpipe.model.build import Build, BuildError, Step
from goldenpipe.model.status import BuildState, StepStatus, Target
from goldenpipe.store import Store
from goldenpipe.store.store import Known
from goldenpipe_kube import Kube

Object = dict[str, Any]
log = logging.getLogger(__name__)

_AT_ONCE = 16
"""Records read at the same time."""
_ORDER = list(BuildState)


class Restoring:
    """Reads Secrets by name alone: the index and the plan name all there can be."""

    def __init__(self, kube: Kube, store: Store, records: Records, *, job_ttl_seconds: int) -> None:
        self._kube, self._store, self._records = kube, store, records
        self._ttl = timedelta(seconds=job_ttl_seconds)
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Return when the store knows all that the cluster tells, and the cluster all builds of the store."""
        found = {index.build: index for index in await self._records.list()}
        known = await self._store.known()
        bringing = [self._bring_in(index, known.get(index.build)) for index in found.values()]
        for failed in await asyncio.gather(*bringing, return_exceptions=True):
            if failed is not None:
                raise failed
        for build_id, row in known.items():
            if build_id not in found and row.target is Target.PRESENT:
                await self._record_again(build_id)

    async def _bring_in(self, index: Index, row: Known | None) -> None:
        if row is not None and _tells_as_much(row, index):
            if index.target is Target.ABSENT and row.target is Target.PRESENT:
                await self._store.mark_absent(row.name)
            return
        async with self._room:
            await self._restore(index)

    async def _restore(self, index: Index) -> None:
        read = await self._records.read(index.build)
        if read is None:
            await self._without_plan(index)
            return
        build, bundle = read
        if index.history is not None:
            build = with_history(build, index.history)
            size = build.size_bytes if index.size_bytes is None else index.size_bytes
            build = replace(build, state=index.state, error=index.error, size_bytes=size)
        else:
            build = await self._as_found(build)
        recorded = ABSENT if index.target is Target.ABSENT else index.state.value
        build = replace(build, target=index.target, recorded=recorded)
        try:
            await self._store.restore(build, bundle)
        except AlreadyExists as error:
            log.error("build %s is left alone: %s", build.id, error)
            return
        log.info("build %s: restored as %s", build.id, build.status.value, extra=_extra("restore", index))

    async def _without_plan(self, index: Index) -> None:
        if index.target is Target.ABSENT or index.state is BuildState.QUEUED:
            await self._records.remove(index.build)
            return
        log.error("image %s cannot be restored: the Secret %s-record is gone; its disk stays", index.image, index.build)

    async def _record_again(self, build_id: str) -> None:
        build = await self._store.get(build_id)
        if build is not None:
            await self._records.keep(replace(build, recorded=None), await self._store.bundle(build.templates))

    async def _as_found(self, build: Build) -> Build:
        """An unfinished build, by the input Secret of the step that it came to last."""
        jobs = {job["metadata"]["name"]: job for job in await self._kube.list("Job", labels=f"{BUILD}={build.id}")}
        secret, current = await self._last_input(build, set(jobs))
        if current is None:
            started = any(step.job in jobs for step in build.steps)
            return replace(build, state=BuildState.RUNNING) if started else build
        history = json.loads((secret["metadata"].get("annotations") or {}).get(HISTORY) or "null")
        begun = datetime.fromisoformat(secret["metadata"]["creationTimestamp"])
        job = jobs.get(current.job)
        if history is not None:
            build = with_history(build, history)
        known = build.steps[current.position - 1]
        uid = job["metadata"]["uid"] if job else None
        step = replace(known, status=StepStatus.IN_PROGRESS, started_at=known.started_at or begun, job_uid=uid)
        build = replace(
            build,
            state=BuildState.RUNNING,
            started_at=build.started_at or build.created_at,
            vm_uid=build.vm_uid or await self._vm_uid(build, made=job is not None),
            steps=tuple(step if each.name == current.name else each for each in build.steps),
        )
        if job is None and datetime.now(UTC) - begun >= self._ttl:
            return _lost(build, step)
        return build

    async def _last_input(self, build: Build, jobs: set[str]) -> tuple[Object, Step | None]:
        """The last step whose input was made: each step's is made before its Job, and goes when all have ended."""
        steps = [step for step in build.steps if step.status is not StepStatus.SKIPPED]
        if not steps or (not jobs and await self._input(build, steps[0]) is None):
            return {}, None
        last = max((at for at, step in enumerate(steps) if step.job in jobs), default=len(steps) - 1)
        for step in reversed(steps[: last + 2]):
            if (secret := await self._input(build, step)) is not None:
                return secret, step
        return {}, None

    async def _input(self, build: Build, step: Step) -> Object | None:
        secret = await self._kube.find("Secret", step.job)
        return secret if secret is not None and label(secret, BUILD) == build.id else None

    async def _vm_uid(self, build: Build, *, made: bool) -> str | None:
        """Of the VM that the current step makes; if it was made and is gone, any word will do for its uid."""
        if ("VirtualMachine", build.vm) not in build.objects:
            return None
        vm = await self._kube.find("VirtualMachine", build.vm)
        return str(vm["metadata"]["uid"]) if vm else "gone" if made else None


def _tells_as_much(row: Known, index: Index) -> bool:
    """A row may be behind its record after a power cut; within a build its own events bring it up to date."""
    return row.target is Target.ABSENT or _ORDER.index(row.state) >= _ORDER.index(index.state)


def _lost(build: Build, step: Step) -> Build:
    message = f"the service lost its store, and the Job {step.job} is gone, so nobody knows how far the step came"
    hint = "finished Jobs go after job_ttl_seconds; create the image again"
    error = BuildError(message=message, step=step.name, hint=hint)
    failed = replace(step, status=StepStatus.FAILED, message=message, ended_at=datetime.now(UTC))
    steps = tuple(failed if each.name == step.name else each for each in build.steps)
    return replace(build, state=BuildState.FAILING, error=error, steps=steps)


def _extra(action: str, index: Index) -> dict[str, str]:
    return {"action": action, "image": index.image, "build": index.build}
