"""One look at one Job: what it wants, what its Pods did, and the next thing to do. Safe at any moment, any number of
times: what has to survive a crash is in the Job's status before anything is done about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from goldenpipe_kube import Conflict, Kube, KubeError, NotFound, Object
from goldenpipe_local.jobs.backoff import Backoff, Failures
from goldenpipe_local.jobs.cache import Cache, controller_of
from goldenpipe_local.jobs.clock import Clock
from goldenpipe_local.jobs.events import tell
from goldenpipe_local.jobs.pods import FINALIZER, ended_at, is_tracked, parse_time, phase_of, uid_of
from goldenpipe_local.jobs.queue import WorkQueue
from goldenpipe_local.jobs.status import (
    Counts,
    Verdict,
    condition_of,
    conditions_of,
    final_condition,
    new_status,
    time_text,
    with_condition,
)
from goldenpipe_local.jobs.tally import (
    Tally,
    counts_after,
    counts_before,
    deadline_of,
    judge,
    pods_wanted,
    tally,
    uncounted_of,
)

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Reconciler:
    """Brings Jobs and Pods together, key by key; a key is the uid of a Job."""

    def __init__(
        self, kube: Kube, *, jobs: Cache, pods: Cache, queue: WorkQueue, backoff: Backoff, clock: Clock
    ) -> None:
        self._kube = kube
        self._jobs = jobs
        self._pods = pods
        self._queue = queue
        self._backoff = backoff
        self._clock = clock
        self._failures = Failures()

    async def reconcile(self, uid: str) -> None:
        job, pods = self._jobs.get(uid), self._pods.owned_by(uid)
        if job is None:
            self._failures.forget(uid)
            await self._let_go(pods)
        elif job["metadata"].get("deletionTimestamp"):
            await self._let_go(pods)
        elif final_condition(job):
            self._failures.forget(uid)
            await self._let_go(pods)
            await self._delete_in_time(job)
        else:
            await self._run(job, pods)

    async def _run(self, job: Object, pods: Sequence[Object]) -> None:
        now = self._clock()
        seen = tally(job, pods)
        self._note_failures(job, pods, seen, now)
        job = _started(job, now)
        verdict = judge(job, seen, now)
        if verdict is not None:
            seen = await self._stop(job, seen, verdict)
        elif job["spec"].get("suspend"):
            seen = await self._suspend(job, seen)
        else:
            seen = await self._manage(job, seen, now)
        job = await self._write_seen(job, seen, verdict, now)
        await self._count(job, seen, verdict)

    def _note_failures(self, job: Object, pods: Sequence[Object], seen: Tally, now: datetime) -> None:
        ignored = {uid_of(pod) for pod in seen.ignored}
        for pod in pods:
            uid = uid_of(pod)
            if phase_of(pod) == "Failed" or uid in ignored:
                self._failures.note(uid_of(job), uid, ended_at(pod, now), ignored=uid in ignored)

    async def _stop(self, job: Object, seen: Tally, verdict: Verdict) -> Tally:
        """Nothing of the Job goes on; after a failure every Pod that is cut short counts as failed."""
        for pod in seen.active:
            await self._delete_pod(job, pod)
        seen = _without_active(seen)
        if not verdict.failed:
            return seen
        counted = {uid_of(pod) for pod in seen.failed} | set(uncounted_of(job)["failed"])
        cut_short = [pod for pod in seen.terminating if is_tracked(pod) and uid_of(pod) not in counted]
        return Tally(
            active=(),
            terminating=seen.terminating,
            succeeded=seen.succeeded,
            failed=(*seen.failed, *cut_short),
            ignored=seen.ignored,
        )

    async def _suspend(self, job: Object, seen: Tally) -> Tally:
        """Pods go, and it is no failure."""
        await self._let_go(seen.active)
        for pod in seen.active:
            await self._delete_pod(job, pod)
        return _without_active(seen)

    async def _manage(self, job: Object, seen: Tally, now: datetime) -> Tally:
        missing = pods_wanted(job, seen)
        deadline = deadline_of(job)
        if deadline is not None:
            self._wake_at(job, deadline, now)
        if missing < 0:
            # the youngest have done the least
            surplus = seen.active[missing:]
            for pod in surplus:
                await self._delete_pod(job, pod)
            return _moved(seen, surplus)
        failed = counts_after(counts_before(job, seen)).failed
        next_try = self._failures.next_try(uid_of(job), failed, self._backoff)
        if missing > 0 and next_try is not None and next_try > now:
            self._wake_at(job, next_try, now)
            return seen
        created = [await self._create_pod(job) for _ in range(missing)]
        return _with_active(seen, [pod for pod in created if pod is not None])

    def _wake_at(self, job: Object, moment: datetime, now: datetime) -> None:
        self._queue.add_after(uid_of(job), (moment - now).total_seconds())

    async def _write_seen(self, job: Object, seen: Tally, verdict: Verdict | None, now: datetime) -> Object:
        """The first write: who is there, who has ended, and the verdict."""
        conditions = conditions_of(job)
        start: str | None = (job.get("status") or {}).get("startTime")
        told: list[tuple[str, str]] = []
        if verdict is not None:
            conditions = with_condition(conditions, verdict.type, verdict.reason, verdict.message, now)
        elif job["spec"].get("suspend"):
            start = None
            if not condition_of(job, "Suspended"):
                told.append(("Suspended", "Job suspended"))
            conditions = with_condition(conditions, "Suspended", "JobSuspended", "Job suspended", now)
        elif condition_of(job, "Suspended"):
            conditions = with_condition(conditions, "Suspended", "JobResumed", "Job resumed", now, true=False)
            start = time_text(now)
            told.append(("Resumed", "Job resumed"))
        job = await self._write(job, counts_before(job, seen), conditions, start)
        for reason, message in told:
            await tell(self._kube, job, "Normal", reason, message, now)
        return job

    async def _count(self, job: Object, seen: Tally, verdict: Verdict | None) -> None:
        """The second write: ended Pods have been let go and are in the numbers; the end, if this is it."""
        before = counts_before(job, _nobody_new(seen))
        counted = {*before.uncounted_succeeded, *before.uncounted_failed}
        pods = self._pods.owned_by(uid_of(job))
        ignored = {uid_of(pod) for pod in seen.ignored}
        await self._let_go(pod for pod in pods if uid_of(pod) in counted | ignored)
        after = counts_after(before)
        if verdict is None or after.active or after.terminating:
            await self._write(job, after, conditions_of(job), (job.get("status") or {}).get("startTime"))
        else:
            await self._finish(job, after, verdict)

    async def _finish(self, job: Object, counts: Counts, verdict: Verdict) -> None:
        now = self._clock()
        conditions = with_condition(conditions_of(job), verdict.final_type, verdict.reason, verdict.message, now)
        completion = None if verdict.failed else time_text(now)
        start = (job.get("status") or {}).get("startTime")
        job = await self._write(job, counts, conditions, start, completion)
        if verdict.failed:
            await tell(self._kube, job, "Warning", verdict.reason, verdict.message, now)
        else:
            await tell(self._kube, job, "Normal", "Completed", "Job completed", now)

    async def _write(
        self,
        job: Object,
        counts: Counts,
        conditions: Sequence[Object],
        start: str | None,
        completion: str | None = None,
    ) -> Object:
        known = self._jobs.get(uid_of(job)) or job
        old = known.get("status") or {}
        status = new_status(old, counts, conditions, start=start, completion=completion)
        if status == old:
            return job
        job = await self._kube.replace({**job, "status": status}, subresource="status")
        self._jobs.put(job)
        return job

    async def _create_pod(self, job: Object) -> Object | None:
        pod = _pod_of(job, {pod["metadata"]["name"] for pod in self._pods.owned_by(uid_of(job))})
        now = self._clock()
        try:
            created = await self._kube.create(pod)
        except Conflict:
            created = await self._kube.get("Pod", pod["metadata"]["name"])
            if controller_of(created) != uid_of(job):
                raise
        except KubeError as error:
            await tell(self._kube, job, "Warning", "FailedCreate", f"Error creating: {error.message}", now)
            raise
        self._pods.put(created)
        await tell(self._kube, job, "Normal", "SuccessfulCreate", f"Created pod: {created['metadata']['name']}", now)
        return created

    async def _delete_pod(self, job: Object, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if await self._kube.delete("Pod", name, uid=uid_of(pod)):
            await tell(self._kube, job, "Normal", "SuccessfulDelete", f"Deleted pod: {name}", self._clock())

    async def _let_go(self, pods: Iterable[Object]) -> None:
        """Take the tracking finalizer from Pods, so that they can be deleted."""
        for pod in list(pods):
            if not is_tracked(pod):
                continue
            metadata = pod["metadata"]
            kept = [name for name in metadata["finalizers"] if name != FINALIZER]
            patch = {"metadata": {"uid": metadata["uid"], "finalizers": kept or None}}
            try:
                self._pods.put(await self._kube.patch("Pod", metadata["name"], patch))
            except (NotFound, Conflict):
                # gone, or another Pod of that name by now
                self._pods.remove(pod)

    async def _delete_in_time(self, job: Object) -> None:
        """ttlSecondsAfterFinished."""
        seconds, condition = job["spec"].get("ttlSecondsAfterFinished"), final_condition(job)
        if seconds is None or condition is None:
            return
        now, due = self._clock(), parse_time(condition["lastTransitionTime"]) + timedelta(seconds=seconds)
        if due > now:
            self._wake_at(job, due, now)
        else:
            await self._kube.delete("Job", job["metadata"]["name"], propagation="Foreground", uid=uid_of(job))


def _started(job: Object, now: datetime) -> Object:
    status = job.get("status") or {}
    if status.get("startTime") or job["spec"].get("suspend"):
        return job
    return {**job, "status": {**status, "startTime": time_text(now)}}


def _without_active(seen: Tally) -> Tally:
    return _moved(seen, seen.active)


def _moved(seen: Tally, deleted: Sequence[Object]) -> Tally:
    """Active Pods that have just been deleted are terminating now."""
    gone = {uid_of(pod) for pod in deleted}
    return Tally(
        active=tuple(pod for pod in seen.active if uid_of(pod) not in gone),
        terminating=(*seen.terminating, *deleted),
        succeeded=seen.succeeded,
        failed=seen.failed,
        ignored=seen.ignored,
    )


def _with_active(seen: Tally, created: Sequence[Object]) -> Tally:
    return Tally(
        active=(*seen.active, *created),
        terminating=seen.terminating,
        succeeded=seen.succeeded,
        failed=seen.failed,
        ignored=seen.ignored,
    )


def _nobody_new(seen: Tally) -> Tally:
    """The same Pods after the first write: all that have ended are in the status."""
    return Tally(active=seen.active, terminating=seen.terminating, succeeded=(), failed=(), ignored=())


def _pod_of(job: Object, taken: set[str]) -> Object:
    metadata, template = job["metadata"], job["spec"]["template"]
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    inherited = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": _pod_name(job, taken),
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": inherited.get("labels") or {},
            "annotations": inherited.get("annotations") or {},
            "ownerReferences": [owner],
            "finalizers": [FINALIZER],
        },
        "spec": template["spec"],
    }


def _pod_name(job: Object, taken: set[str]) -> str:
    """Derived, not random: a create whose answer was lost is found again instead of done twice."""
    metadata, failed = job["metadata"], (job.get("status") or {}).get("failed") or 0
    # a Pod that is gone leaves its name to none: a failure or a suspension lies between it and the next
    history = f"{metadata['uid']}/{metadata.get('generation')}/{failed}"
    for number in range(len(taken) + 1):
        digest = hashlib.sha256(f"{history}/{number}".encode()).digest()
        suffix = "".join(_SUFFIX_LETTERS[byte % len(_SUFFIX_LETTERS)] for byte in digest[:5])
        name = f"{metadata['name'][:57]}-{suffix}"
        if name not in taken:
            return name
    message = f"no free name for a Pod of the Job {metadata['name']}"
    raise RuntimeError(message)
