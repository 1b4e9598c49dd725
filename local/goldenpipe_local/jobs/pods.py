"""What a Job's Pods say: alive, ending, ended, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from goldenpipe_kube import Object

FINALIZER = "batch.kubernetes.io/job-tracking"
"""Keeps an ended Pod until the Job has counted it."""


def phase_of(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def has_ended(pod: Object) -> bool:
    return phase_of(pod) in {"Succeeded", "Failed"}


def is_deleted(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_active(pod: Object) -> bool:
    return not has_ended(pod) and not is_deleted(pod)


def is_terminating(pod: Object) -> bool:
    return not has_ended(pod) and is_deleted(pod)


def is_tracked(pod: Object) -> bool:
    """Whether the Pod is yet to be counted, or to be let go."""
    return FINALIZER in (pod["metadata"].get("finalizers") or [])


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def uid_of(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def ended_containers(pod: Object) -> Iterator[tuple[str, Object]]:
    """Name and terminated state of every container that has ended."""
    status = pod.get("status") or {}
    for group in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(group) or []:
            ended = (container.get("state") or {}).get("terminated")
            if ended:
                yield container["name"], ended


def ended_at(pod: Object, now: datetime) -> datetime:
    """When the last container ended; where nobody wrote it down, when the Pod was deleted, else now."""
    moments = [parse_time(ended["finishedAt"]) for _, ended in ended_containers(pod) if ended.get("finishedAt")]
    if moments:
        return max(moments)
    deleted = pod["metadata"].get("deletionTimestamp")
    return min(now, parse_time(deleted)) if deleted else now


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
