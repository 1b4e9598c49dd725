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


def outcome_of(job: Object, pods: list[Object]) -> Outcome:
    """A container's exit code decides as soon as it is known; for the rest the Job's own condition does.

    The Job confirms an exit about two seconds later on a real cluster, and nobody should wait for that; a failure that
    may be tried again is the Job controller's to count, so it is the Job that ends those.
    """
    latest = _latest(pods)
    ended = _terminated(latest) if latest else None
    if ended is not None and ended.get("exitCode") == 0:
        return _completed(ended)
    if ended is not None and ended.get("exitCode") == PERMANENT:
        return _failed(ended)
    conditions = {c["type"]: c for c in job.get("status", {}).get("conditions") or [] if c.get("status") == "True"}
    if "Complete" in conditions:
        return _completed(ended or {})
    if failed := conditions.get("Failed") or conditions.get("FailureTarget"):
        return _job_failed(failed, job, latest, ended)
    return RUNNING


def _job_failed(condition: Object, job: Object, pod: Object | None, ended: Object | None) -> Outcome:
    if condition.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds")
        waiting = _waiting(pod)
        return Outcome(
            status="failed",
            message=f"the step did not end within its deadline of {seconds} s" + (f": {waiting}" if waiting else ""),
            hint="read the step's log; raise `timeout` in the step's template if the work honestly takes longer",
        )
    if ended is not None:
        return _failed(ended)
    return Outcome(status="failed", message=condition.get("message") or condition.get("reason") or "the Job failed")


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
    if ended is None and pod.get("status", {}).get("phase") == "Failed":
        status = pod["status"]
        return {"exitCode": None, "reason": status.get("reason"), "message": status.get("message") or ""}
    return ended


def _waiting(pod: Object | None) -> str:
    waiting = step_container(pod).get("state", {}).get("waiting") or {}
    if not waiting and pod is not None:
        unscheduled = [
            c
            for c in pod.get("status", {}).get("conditions") or []
            if c["type"] == "PodScheduled" and c["status"] == "False"
        ]
        waiting = unscheduled[0] if unscheduled else {}
    return ": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
