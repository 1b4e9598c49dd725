"""A Job's status: its conditions, and the numbers as the API writes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from goldenpipe_kube import Object

REACHED = "Reached expected number of succeeded pods"
_FINAL_OF = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a Job ends: decided first (SuccessCriteriaMet, FailureTarget), final (Complete, Failed) once all is over."""

    type: str
    reason: str
    message: str

    @property
    def failed(self) -> bool:
        return self.type == "FailureTarget"

    @property
    def final_type(self) -> str:
        return _FINAL_OF[self.type]


SUCCESS = Verdict(type="SuccessCriteriaMet", reason="CompletionsReached", message=REACHED)


def fails(reason: str, message: str) -> Verdict:
    return Verdict(type="FailureTarget", reason=reason, message=message)


def time_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions_of(job: Object) -> list[Object]:
    return list((job.get("status") or {}).get("conditions") or [])


def condition_of(job: Object, kind: str) -> Object | None:
    """The condition of this type, if it is True."""
    return next((item for item in conditions_of(job) if item["type"] == kind and item["status"] == "True"), None)


def final_condition(job: Object) -> Object | None:
    return condition_of(job, "Complete") or condition_of(job, "Failed")


def verdict_in(job: Object) -> Verdict | None:
    """The verdict that is in the status already: it is never taken back."""
    for kind in _FINAL_OF:
        condition = condition_of(job, kind)
        if condition:
            return Verdict(type=kind, reason=condition.get("reason", ""), message=condition.get("message", ""))
    return None


def with_condition(
    conditions: Sequence[Object], kind: str, reason: str, message: str, now: datetime, *, true: bool = True
) -> list[Object]:
    """The conditions with this one set; untouched if it is so already."""
    status = "True" if true else "False"
    if any(item["type"] == kind and item["status"] == status for item in conditions):
        return list(conditions)
    stamp = time_text(now)
    new: Object = {
        "type": kind,
        "status": status,
        "lastProbeTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }
    kept = [new if item["type"] == kind else item for item in conditions]
    return kept if new in kept else [*kept, new]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The numbers of a status."""

    active: int
    ready: int
    terminating: int
    succeeded: int
    failed: int
    uncounted_succeeded: tuple[str, ...] = ()
    uncounted_failed: tuple[str, ...] = ()

    def as_status(self) -> Object:
        uncounted = {"succeeded": [*self.uncounted_succeeded], "failed": [*self.uncounted_failed]}
        some = {"active": self.active, "succeeded": self.succeeded, "failed": self.failed}
        return {
            **{key: value for key, value in some.items() if value},
            "ready": self.ready,
            "terminating": self.terminating,
            "uncountedTerminatedPods": {key: value for key, value in uncounted.items() if value},
        }


def new_status(
    old: Object, counts: Counts, conditions: Sequence[Object], *, start: str | None, completion: str | None = None
) -> Object:
    """A whole status; what this controller does not know is kept."""
    dropped = {"active", "succeeded", "failed", "conditions", "startTime", "completionTime"}
    status = {key: value for key, value in old.items() if key not in dropped}
    status |= counts.as_status()
    for key, value in (("conditions", list(conditions)), ("startTime", start), ("completionTime", completion)):
        if value:
            status[key] = value
    return status
