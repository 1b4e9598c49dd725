"""What deleting an object means: at once, after a grace period, or when its finalizers are gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.api.clock import stamp, stamp_after
from goldenpipe_local.api.errors import bad_request
from goldenpipe_local.api.resources import Resource
from goldenpipe_local.api.rules import rules_of
from goldenpipe_local.api.rules.base import PROPAGATIONS

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_FINALIZER_OF = {"Foreground": FOREGROUND, "Orphan": ORPHAN}
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class DeleteOptions:
    """What a client says about a deletion."""

    propagation: str | None = None
    grace_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def from_json(cls, body: Any) -> DeleteOptions:
        if not isinstance(body, dict):
            message = "the body of a DELETE is a DeleteOptions object"
            raise bad_request(message)
        preconditions = body.get("preconditions") or {}
        propagation, grace = body.get("propagationPolicy"), body.get("gracePeriodSeconds")
        if propagation is None and "orphanDependents" in body:
            propagation = "Orphan" if body["orphanDependents"] else "Background"
        if propagation is not None and propagation not in PROPAGATIONS:
            words = ", ".join(PROPAGATIONS)
            message = f"invalid propagationPolicy {propagation}: supported values: {words}"
            raise bad_request(message)
        if grace is not None and not isinstance(grace, int):
            message = f"invalid gracePeriodSeconds {grace}: must be an integer"
            raise bad_request(message)
        return cls(
            propagation=propagation,
            grace_seconds=grace,
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
        )


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The object with the marks of its deletion, and whether nothing is left to wait for."""

    object: Object
    at_once: bool


def deletion_of(resource: Resource, current: Object, options: DeleteOptions, now: datetime) -> Deletion:
    """What becomes of an object that somebody asked to delete."""
    new: Object = {**current, "metadata": dict(current["metadata"])}
    finalizers = _finalizers(resource, current, options)
    grace = _grace_seconds(resource, current, options)
    if finalizers != (current["metadata"].get("finalizers") or []):
        new["metadata"]["finalizers"] = finalizers
    if finalizers or grace is not None:
        _mark(new, grace, now)
    waits = new["metadata"].get("deletionGracePeriodSeconds") or 0
    return Deletion(object=new, at_once=not finalizers and waits == 0)


def _finalizers(resource: Resource, current: Object, options: DeleteOptions) -> list[str]:
    kept = [name for name in current["metadata"].get("finalizers") or [] if name not in (FOREGROUND, ORPHAN)]
    already = [name for name in current["metadata"].get("finalizers") or [] if name in (FOREGROUND, ORPHAN)]
    if options.propagation is None and already:
        return current["metadata"]["finalizers"]  # type: ignore[no-any-return]
    propagation = options.propagation or rules_of(resource).default_propagation
    added = _FINALIZER_OF.get(propagation)
    return [*kept, added] if added else kept


def _grace_seconds(resource: Resource, current: Object, options: DeleteOptions) -> int | None:
    """The grace period: only Pods on a node have one, and a second request may only shorten it."""
    if resource.kind != "Pod":
        return None
    spec, phase = current["spec"], (current.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in _ENDED:
        wanted = 0
    elif options.grace_seconds is not None:
        wanted = max(0, options.grace_seconds)
    else:
        wanted = spec["terminationGracePeriodSeconds"]
    pending = current["metadata"].get("deletionGracePeriodSeconds")
    return wanted if pending is None else min(wanted, pending)


def _mark(new: Object, grace: int | None, now: datetime) -> None:
    metadata = new["metadata"]
    first = "deletionTimestamp" not in metadata
    if first and metadata.get("generation"):
        metadata["generation"] += 1
    if grace is None:
        metadata.setdefault("deletionTimestamp", stamp(now))
        metadata.setdefault("deletionGracePeriodSeconds", 0)
    elif first or grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = stamp_after(now, grace)
        metadata["deletionGracePeriodSeconds"] = grace


def gone_at_last(current: Object, new: Object) -> bool:
    """Whether a write takes away the last thing that a deleted object waited for."""
    metadata = current["metadata"]
    if not metadata.get("deletionTimestamp") or new["metadata"].get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")
