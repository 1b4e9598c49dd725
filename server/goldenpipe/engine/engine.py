"""The engine: one `reconcile(build)` reads what is wanted and what is seen, and does the next thing.

It may be called at any moment, any number of times, and after any crash: every decision is stored before it is acted
on, and every act makes sure rather than does again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from goldenpipe.cluster.seen import Seen
from goldenpipe.cluster.vms import end_of_vm
from goldenpipe.engine.cleanup import Cleanup
from goldenpipe.engine.logs import Logs
from goldenpipe.engine.objects import KeysLost, NotOurs, Objects
from goldenpipe.engine.queue import WorkQueue
from goldenpipe.engine.records import Records
from goldenpipe.engine.screenshots import Screenshots
from goldenpipe.engine.starting import LATE_SECONDS, Starting
from goldenpipe.metrics import Metrics
from goldenpipe.model.build import Build, BuildError, Step
from goldenpipe.model.outcome import DOES_NOT_START, Outcome, is_complete, objection_to, outcome_of
from goldenpipe.model.status import BuildState, StepStatus, Target
from goldenpipe.store import Store
from goldenpipe.templating.bundle import Bundle, TemplateError
from goldenpipe.templating.steps import StepTemplate
from goldenpipe_kube import Forbidden, Invalid, Kube

Object = dict[str, Any]
log = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0
"""How long a failed step's log may take to arrive before its VM and Job are cleaned up."""
_STRAGGLER_SECONDS = 2.0
"""Cleaning up is driven by events; kinds that are not watched (Secrets) are looked at again after this."""


REFUSED_SECONDS = 60.0
"""For so long a step is tried to be started although the cluster forbids it."""
_REFUSED = "the step could not be started: "
_REFUSED_HINT = "the Kubernetes API refused it; check quota, admission policies and the service's Role"
_KEPT_BUNDLES = 8
"""Template texts kept in memory; about 60 KB each."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the engine works with."""

    store: Store
    kube: Kube
    seen: Seen
    objects: Objects
    records: Records
    logs: Logs
    screenshots: Screenshots
    metrics: Metrics
    max_builds: int


class Engine:
    """Drives every build to its end."""

    def __init__(self, parts: Parts) -> None:
        self._store, self._kube, self._seen = parts.store, parts.kube, parts.seen
        self._objects, self._logs, self._metrics = parts.objects, parts.logs, parts.metrics
        self._records, self._screenshots = parts.records, parts.screenshots
        self._max_builds = parts.max_builds
        self._cleanup = Cleanup(parts.kube, parts.seen)
        self._bundles: dict[str, Bundle] = {}
        self._starting = Starting(parts.kube)
        self._refused: dict[str, float] = {}
        self.queue = WorkQueue(self.reconcile)

    async def start(self) -> None:
        """Queue every unfinished build, once the cluster has been listed: restart is no special case."""
        await self._seen.wait_listed()
        for build in await self._store.unfinished():
            self.queue.add(build)

    def touch(self, build: str) -> None:
        """Something of this build has changed."""
        if self._seen.listed:
            self.queue.add(build)

    async def admit(self) -> None:
        """Let waiting builds run while there is room for more."""
        for build in await self._store.admit(limit=self._max_builds):
            self.touch(build)

    async def keep_secrets(self, build: Build, values: dict[str, str]) -> None:
        """Put what must not be stored with a request where only the cluster has it, before the build may start."""
        await self._objects.keep_secrets(build, values)

    async def reconcile(self, build_id: str) -> None:
        """Do what there is to do for a build now; return when only an event can change anything."""
        while (build := await self._store.get(build_id)) is not None and await self._step(build):
            pass

    async def _step(self, build: Build) -> bool:
        """One transition; whether to look again at once."""
        if build.target is Target.ABSENT:
            return await self._remove(build)
        if build.recorded is None and not build.state.ended:
            await self._records.keep(build, await self._bundle(build.templates))
        match build.state:
            case BuildState.QUEUED:
                await self.admit()
                return False
            case BuildState.RUNNING | BuildState.FINISHING if objection := self._objection(build):
                await self._fail(build, *objection, "create the image again; `kubectl describe job` has more about it")
                return True
            case BuildState.RUNNING:
                return await self._advance(build)
            case BuildState.FINISHING:
                return await self._finish(build)
            case BuildState.FAILING:
                return await self._clean_up(build)
            case BuildState.SUCCEEDED | BuildState.FAILED:
                return False

    async def _advance(self, build: Build) -> bool:
        step = build.current_step
        if step is None:
            await self._store.enter(build.id, BuildState.FINISHING)
            return True
        try:
            again = await self._advance_step(build, step)
            self._refused.pop(build.id, None)
            return again
        except TemplateError as error:
            hint = "correct the template (`goldenpipe lint` finds such faults) and create the image again"
            await self._fail(build, step, str(error), hint)
        except Forbidden as error:
            return await self._bear(build, step, error)
        except Invalid as error:
            await self._fail(build, step, f"{_REFUSED}{error.message}", _REFUSED_HINT)
        except (NotOurs, KeysLost) as error:
            await self._fail(build, step, str(error), None)
        return True

    async def _bear(self, build: Build, step: Step, error: Forbidden) -> bool:
        """A refusal may pass: a quota is free again, an API server that starts does not know all rights yet."""
        since = self._refused.setdefault(build.id, time.monotonic())
        if time.monotonic() - since >= REFUSED_SECONDS:
            await self._fail(build, step, f"{_REFUSED}{error.message}", _REFUSED_HINT)
            return True
        message = f"{DOES_NOT_START}{error.message}; trying again"
        await self._store.note_progress(build.id, step.name, progress=step.progress, message=message)
        self.queue.add_later(build.id, _STRAGGLER_SECONDS)
        return False

    async def _advance_step(self, build: Build, step: Step) -> bool:
        bundle = await self._bundle(build.templates)
        template = self._objects.template(step, bundle)
        if reason := await self._vm_trouble(build, template):
            hint = "create the image again; the step's log and the VM's serial console tell what the guest did last"
            await self._fail(build, step, reason, hint)
            return True
        if step.status is StepStatus.PENDING:
            started_at = await self._store.start_step(build.id, step.position)
            step = replace(step, status=StepStatus.IN_PROGRESS, started_at=started_at)
        if step.job_uid is None and template.needs_vm and self._objects.is_without_address(build):
            return await self._wait_for_address(build, step)
        job = self._seen.get("Job", step.job)
        if step.job_uid is None or job is None:
            job = await self._ensure_job(build, step, bundle)
            if job is None:
                return True
        outcome = outcome_of(job, self._seen.pods_of(step.job), last_word=step.message)
        if outcome.status == "running":
            late = await self._late(build, step, job, bundle)
            await self._tell_start(build, step, template, outcome.message or late)
            return False
        await self._record(build, step, outcome)
        return True

    async def _wait_for_address(self, build: Build, step: Step) -> bool:
        """The watch of VMIs calls again when there is one; no longer than a boot may take."""
        waited = (datetime.now(UTC) - step.started_at).total_seconds() if step.started_at else 0.0
        left = self._objects.address_seconds - waited
        if left > 0:
            self.queue.add_later(build.id, left)
            return False
        message = f"the build VM runs, but has had no address for {self._objects.address_seconds} s"
        await self._fail(build, step, message, "look at its network and its guest agent; create the image again")
        return True

    async def _tell_start(self, build: Build, step: Step, template: StepTemplate, trouble: str) -> None:
        """A container that cannot start prints nothing, so its Pod's word for that becomes the step's message."""
        if not trouble and step.message.startswith(DOES_NOT_START):
            trouble = template.message or template.summary  # it has started after all
        if trouble and trouble != step.message:
            await self._store.note_progress(build.id, step.name, progress=step.progress, message=trouble)

    async def _late(self, build: Build, step: Step, job: Object, bundle: Bundle) -> str:
        """Why the step's container has not started although it had the time to; empty if there is nothing to tell."""
        pods = self._seen.pods_of(step.job)
        waited = self._starting.waited(build.id, job, pods)
        if waited is None:
            return ""
        self.queue.add_later(build.id, LATE_SECONDS)
        if waited < LATE_SECONDS:
            return ""
        if why := await self._starting.why(job, pods):
            await self._objects.ensure_input(build, step, bundle)  # its Secret may have been deleted
            await self._objects.ensure_job(build, step, bundle)
        return why

    async def _bundle(self, digest: str) -> Bundle:
        """The templates a build started with; builds of the same day mostly share them."""
        if digest not in self._bundles:
            if len(self._bundles) >= _KEPT_BUNDLES:
                self._bundles.clear()
            self._bundles[digest] = await self._store.bundle(digest)
        return self._bundles[digest]

    async def _ensure_job(self, build: Build, step: Step, bundle: Bundle) -> Object | None:
        """The step's Job; None if it was there before and somebody deleted it (the build has failed then)."""
        if step.job_uid is not None:
            found = await self._kube.find("Job", step.job)
            if found is None or found["metadata"]["uid"] != step.job_uid:
                hint = "somebody or something else deleted it; create the image again"
                await self._fail(build, step, f"the step's Job {step.job} was deleted while it ran", hint)
                return None
            return found
        log.info("build %s: step %s starts", build.id, step.name, extra=_extra("step", build, step))
        for obj in await self._objects.ensure_manifests(build, step, bundle):
            if (obj["kind"], obj["metadata"]["name"]) == ("VirtualMachine", build.vm):
                await self._store.note_vm(build.id, obj["metadata"]["uid"])
        job = await self._objects.ensure_job(build, step, bundle)
        await self._store.note_job(build.id, step.position, job["metadata"]["uid"])
        if self._seen.get("Job", step.job) is None:
            self._seen.put(job)
        return job

    async def _vm_trouble(self, build: Build, template: StepTemplate) -> str | None:
        """Why the build VM cannot serve the steps any more; None while it can, or while no step relies on it."""
        if build.vm_uid is None:
            return None
        vm = self._seen.get("VirtualMachine", build.vm) or await self._kube.find("VirtualMachine", build.vm)
        if vm is None or vm["metadata"].get("deletionTimestamp"):
            return end_of_vm(None, None)
        starting = template.api and template.needs_vm  # create_vm and seal_image watch the VMI themselves
        if starting or template.ends_vm or not template.needs_vm:
            return None
        vmi = self._seen.get("VirtualMachineInstance", build.vm)
        return end_of_vm(vm, vmi or await self._kube.find("VirtualMachineInstance", build.vm))

    async def _record(self, build: Build, step: Step, outcome: Outcome) -> None:
        """An outcome is stored before anything that it was read from may go."""
        if outcome.status == "failed":
            await self._fail(build, step, outcome.message, outcome.hint)
            return
        await self._store.complete_step(build.id, step.position, message=outcome.message, facts=outcome.facts)
        self._starting.forget(build.id)
        done = await self._store.get(build.id)
        if done is not None:
            self._metrics.step_ended(done.steps[step.position - 1])
        log.info("build %s: step %s done", build.id, step.name, extra=_extra("step", build, step))

    async def _fail(self, build: Build, step: Step, message: str, hint: str | None) -> None:
        await self._store.fail(build.id, BuildError(message=message, step=step.name, hint=hint))
        failed = await self._store.get(build.id)
        if failed is not None:
            self._metrics.step_ended(failed.steps[step.position - 1])
        log.warning("build %s: step %s failed: %s", build.id, step.name, message, extra=_extra("fail", build, step))

    def _objection(self, build: Build) -> tuple[Step, str] | None:
        """A step that was taken for done, and what its Job says now.

        The next step begins when a container has exited; its Job's word comes about two seconds later.
        """
        for step, job in self._done(build):
            if reason := objection_to(job, self._seen.pods_of(step.job)):
                return step, reason
        return None

    def _done(self, build: Build) -> list[tuple[Step, Object]]:
        """The completed steps, with their Jobs where those are still there."""
        jobs = [(step, self._seen.get("Job", step.job)) for step in build.steps if step.status is StepStatus.COMPLETED]
        return [(step, job) for step, job in jobs if job is not None]

    async def _finish(self, build: Build) -> bool:
        if not all(is_complete(job) for _, job in self._done(build)):
            return False
        await self._records.mark(build, BuildState.FINISHING)
        if left := await self._cleanup.after_success(build):
            self._wait_for(build, left)
            return False
        return await self._end(build, BuildState.SUCCEEDED)

    async def _clean_up(self, build: Build) -> bool:
        await self._records.mark(build, BuildState.FAILING)
        await self._screenshots.keep(build)
        await self._logs.settle(build.id, _SETTLE_SECONDS)
        if left := await self._cleanup.after_failure(build):
            self._wait_for(build, left)
            return False
        return await self._end(build, BuildState.FAILED)

    async def _end(self, build: Build, state: BuildState) -> bool:
        await self._records.mark(build, state)
        await self._store.end(build.id, state)
        self._forget(build)
        self._metrics.build_ended(build.os_type, state)
        log.info("build %s: %s", build.id, state.value, extra=_extra("end", build, None))
        await self.admit()
        return False

    async def _remove(self, build: Build) -> bool:
        await self._records.mark_absent(build, removing=True)
        if left := await self._cleanup.everything(build):
            self._wait_for(build, left)
            return False
        await self._records.remove(build.id)
        await self._logs.remove(build.id)
        self._screenshots.remove(build.id)
        await self._store.forget(build.id)
        self._forget(build)
        log.info("build %s: image %s deleted", build.id, build.name, extra=_extra("delete", build, None))
        await self.admit()
        return False

    def _forget(self, build: Build) -> None:
        self._seen.forget(build.id)
        self._starting.forget(build.id)
        self._refused.pop(build.id, None)

    def _wait_for(self, build: Build, left: list[str]) -> None:
        log.debug("build %s: still there: %s", build.id, ", ".join(left))
        self.queue.add_later(build.id, _STRAGGLER_SECONDS)


def _extra(action: str, build: Build, step: Step | None) -> dict[str, str | None]:
    return {"action": action, "image": build.name, "build": build.id, "step": step.name if step else None}
