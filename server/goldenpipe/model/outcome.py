"""What a step's Job did, as a value, from the objects the cluster shows. One pure function decides."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

Object = dict[str, Any]

PERMANENT = 20
"""Exit code of a step that must not be tried again; podFailurePolicy says the same to Kubernetes."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`running` until a container's exit or the Job's condition decides."""

    status: Literal["running", "completed", "failed"]
    message: str = ""
    hint: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


RUNNING = Outcome(status="running")
DOES_NOT_START = "The step's container does not start: "
"""Begins the message of an outcome that is running in name only."""
_STARTING = ("ContainerCreating", "PodInitializing")
_DEADLINE = "DeadlineExceeded"


def outcome_of(job: Object, pods: list[Object], *, last_word: str = "") -> Outcome:
    """A container's exit code decides as soon as it is known; for the rest the Job's own condition does.

    The Job confirms an exit about two seconds later on a real cluster, and nobody should wait for that; a failure that
    may be tried again is the Job controller's to count, so it is the Job that ends those. Jobs and Pods are watched
    apart, so either may be ahead of the other. `last_word` is the step's message so far.
    """
    latest = _latest(pods)
    ended = _terminated(latest) if latest else None
    conditions = {c["type"]: c for c in job.get("status", {}).get("conditions") or [] if c.get("status") == "True"}
    if failed := conditions.get("Failed") or conditions.get("FailureTarget"):
        if failed.get("reason") != _DEADLINE and _has_more_to_say(latest, ended):
            return RUNNING
        return _job_failed(failed, job, latest, ended, last_word)
    if latest is not None and not latest["metadata"].get("deletionTimestamp"):
        # the exit of a Pod that is being deleted may have to do with that, and the Job says how it counts
        if ended is not None and ended.get("exitCode") == 0:
            return _completed(ended)
        if ended is not None and ended.get("exitCode") == PERMANENT:
            return _failed(ended)
    if "Complete" in conditions and not _has_more_to_say(latest, ended):
        return _completed(ended or {})
    waiting = _waiting(latest)
    return Outcome(status="running", message=f"{DOES_NOT_START}{waiting}") if waiting else RUNNING


def objection_to(job: Object, pods: list[Object]) -> str | None:
    """What the Job of a step whose container has exited with 0 says against that afterwards; None: nothing."""
    outcome = outcome_of(job, pods)
    if outcome.status == "failed":
        return f"its container had exited with 0, but its Job failed after that: {outcome.message}"
    if not is_complete(job) and any(_has_more_to_say(pod, _terminated(pod)) for pod in pods):
        return "its Pod was lost before the Job had counted it, and the Job has started another one"
    return None


def is_complete(job: Object) -> bool:
    """Whether the Job itself says that it has done its work."""
    conditions = job.get("status", {}).get("conditions") or []
    return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)


def _has_more_to_say(pod: Object | None, ended: Object | None) -> bool:
    """Whether the Job knows the end of a Pod that we have not seen yet, with the words and facts in it."""
    return pod is not None and ended is None and not pod["metadata"].get("deletionTimestamp")


def _job_failed(condition: Object, job: Object, pod: Object | None, ended: Object | None, last_word: str) -> Outcome:
    if condition.get("reason") == _DEADLINE:
        return _too_late(job, f"{DOES_NOT_START}{waiting}" if (waiting := _waiting(pod)) else last_word)
    if ended is not None and ended.get("exitCode") != 0:
        return _failed(ended)
    return Outcome(status="failed", message=condition.get("message") or condition.get("reason") or "the Job failed")


def _too_late(job: Object, last_word: str) -> Outcome:
    seconds = job["spec"].get("activeDeadlineSeconds")
    last_word, never_started = last_word.removeprefix(DOES_NOT_START), last_word.startswith(DOES_NOT_START)
    hint = "read the step's log; raise `timeout` in the step's template if the work honestly takes longer"
    if never_started:
        hint = (
            "its container never started: the words above are the node's or the scheduler's; see `kubectl describe pod`"
        )
    return Outcome(
        status="failed",
        message=f"the step did not end within its deadline of {seconds} s" + (f": {last_word}" if last_word else ""),
        hint=hint,
    )


def _completed(ended: Object) -> Outcome:
    message, _, facts = _words(ended)
    return Outcome(status="completed", message=message, facts=facts)


def _failed(ended: Object) -> Outcome:
    message, hint, facts = _words(ended)
    code, reason = ended.get("exitCode"), ended.get("reason")
    if reason == "OOMKilled":
        message = "the step's container was killed because it needed more memory than its limit"
        hint = "raise resources.limits.memory in the step's template"
    if not message:
        message = f"the step's container ended with exit code {code} ({reason}) and left no word"
    return Outcome(status="failed", message=message, hint=hint, facts=facts)


def _words(ended: Object) -> tuple[str, str | None, dict[str, Any]]:
    """A termination message: a line of words and, from steps that have more to say, a line of JSON."""
    first, _, rest = (ended.get("message") or "").strip().partition("\n")
    try:
        more = json.loads(rest)
    except ValueError:
        more = {}
    if not isinstance(more, dict):
        more = {}
    facts = more.get("facts")
    return first.strip(), more.get("hint") or None, facts if isinstance(facts, dict) else {}


def _latest(pods: list[Object]) -> Object | None:
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def step_container(pod: Object | None) -> Object:
    """The status of the container named step (or of the only one)."""
    statuses: list[Object] = (pod or {}).get("status", {}).get("containerStatuses") or []
    return next((status for status in statuses if status.get("name") == "step"), statuses[0] if statuses else {})


def _terminated(pod: Object) -> Object | None:
    ended: Object | None = step_container(pod).get("state", {}).get("terminated")
    status = pod.get("status", {})
    if ended is None and status.get("phase") in ("Failed", "Succeeded"):
        code = 0 if status["phase"] == "Succeeded" else None
        return {"exitCode": code, "reason": status.get("reason"), "message": status.get("message") or ""}
    return ended


def _waiting(pod: Object | None) -> str:
    """Why a Pod's container has not started, if that is more than that it takes its time."""
    waiting = step_container(pod).get("state", {}).get("waiting") or {}
    if not waiting and pod is not None:
        unscheduled = [
            c
            for c in pod.get("status", {}).get("conditions") or []
            if c["type"] == "PodScheduled" and c["status"] == "False"
        ]
        waiting = unscheduled[0] if unscheduled else {}
    if waiting.get("reason") in _STARTING:
        return ""
    return ": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
