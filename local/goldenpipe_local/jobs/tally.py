"""Counting a Job's Pods, and what the count means for the Job. Pure: no clock, no API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from goldenpipe_kube import Object
from goldenpipe_local.jobs.pods import (
    has_ended,
    is_active,
    is_deleted,
    is_ready,
    is_terminating,
    is_tracked,
    parse_time,
    phase_of,
    uid_of,
)
from goldenpipe_local.jobs.policy import NO_MATCH, Match, match_policy
from goldenpipe_local.jobs.status import SUCCESS, Counts, Verdict, fails, verdict_in


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The Pods of a Job by what they are to it."""

    active: tuple[Object, ...]
    terminating: tuple[Object, ...]
    succeeded: tuple[Object, ...]
    """Ended well since the last count, as `failed` are those that did not."""
    failed: tuple[Object, ...]
    ignored: tuple[Object, ...]
    """Failed, but the policy says not to count them."""
    job_failure: Match = field(default=NO_MATCH)
    """The first failure that by the policy fails the Job."""


def tally(job: Object, pods: Sequence[Object]) -> Tally:
    uncounted = uncounted_of(job)
    known = {*uncounted["succeeded"], *uncounted["failed"]}
    fresh = [pod for pod in pods if is_tracked(pod) and uid_of(pod) not in known]
    failures = [(pod, match_policy(job, pod)) for pod in fresh if _has_failed(job, pod)]
    return Tally(
        active=tuple(pod for pod in pods if is_active(pod)),
        terminating=tuple(pod for pod in pods if is_terminating(pod)),
        succeeded=tuple(pod for pod in fresh if phase_of(pod) == "Succeeded"),
        failed=tuple(pod for pod, match in failures if match.action != "Ignore"),
        ignored=tuple(pod for pod, match in failures if match.action == "Ignore"),
        job_failure=next((match for _, match in failures if match.action == "FailJob"), NO_MATCH),
    )


def _has_failed(job: Object, pod: Object) -> bool:
    if has_ended(pod):
        return phase_of(pod) == "Failed"
    # else a Pod that is going counts as failed at once, and its successor need not wait for it
    return is_deleted(pod) and not replaces_only_failed(job)


def replaces_only_failed(job: Object) -> bool:
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def uncounted_of(job: Object) -> dict[str, list[str]]:
    uncounted = (job.get("status") or {}).get("uncountedTerminatedPods") or {}
    return {key: list(uncounted.get(key) or []) for key in ("succeeded", "failed")}


def counts_before(job: Object, seen: Tally) -> Counts:
    """The first of two writes: who has ended, by uid, with the numbers not yet changed."""
    status, uncounted = job.get("status") or {}, uncounted_of(job)
    return Counts(
        active=len(seen.active),
        ready=sum(1 for pod in seen.active if is_ready(pod)),
        terminating=len(seen.terminating),
        succeeded=status.get("succeeded") or 0,
        failed=status.get("failed") or 0,
        uncounted_succeeded=(*uncounted["succeeded"], *map(uid_of, seen.succeeded)),
        uncounted_failed=(*uncounted["failed"], *map(uid_of, seen.failed)),
    )


def counts_after(before: Counts) -> Counts:
    """The second: the ended Pods have been let go, so the numbers have them."""
    return Counts(
        active=before.active,
        ready=before.ready,
        terminating=before.terminating,
        succeeded=before.succeeded + len(before.uncounted_succeeded),
        failed=before.failed + len(before.uncounted_failed),
    )


def judge(job: Object, seen: Tally, now: datetime) -> Verdict | None:
    """Whether the Job is to end, and why; None while it goes on."""
    settled = verdict_in(job)
    if settled is not None:
        return settled
    spec, total = job["spec"], counts_after(counts_before(job, seen))
    if seen.job_failure.action:
        return fails("PodFailurePolicy", seen.job_failure.message)
    if total.failed > spec["backoffLimit"]:
        return fails("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if not spec.get("suspend") and deadline_of(job) is not None and now >= (deadline_of(job) or now):
        return fails("DeadlineExceeded", "Job was active longer than specified deadline")
    if total.succeeded >= spec["completions"] and not seen.active:
        return SUCCESS
    return None


def deadline_of(job: Object) -> datetime | None:
    """When the Job will have been active for too long."""
    started, seconds = (job.get("status") or {}).get("startTime"), job["spec"].get("activeDeadlineSeconds")
    return parse_time(started) + timedelta(seconds=seconds) if started and seconds is not None else None


def pods_wanted(job: Object, seen: Tally) -> int:
    """How many more Pods there ought to be; negative: too many."""
    spec, total = job["spec"], counts_after(counts_before(job, seen))
    wanted = min(spec["parallelism"], max(0, spec["completions"] - total.succeeded))
    missing: int = wanted - len(seen.active)
    if missing > 0 and replaces_only_failed(job):
        missing = max(0, missing - len(seen.terminating))
    return missing
