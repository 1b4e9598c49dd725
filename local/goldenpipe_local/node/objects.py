"""Reading and writing the parts that all Kubernetes objects share: times, conditions, owners."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from goldenpipe_kube import Object

LAUNCHER_LABEL = "kubevirt.io"
LAUNCHER_VALUE = "virt-launcher"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(timestamp: str) -> float:
    """Seconds from an object's timestamp to now; negative if it is in the future."""
    return (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def uid_of(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def is_deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def phase_of(obj: Object) -> str:
    return str((obj.get("status") or {}).get("phase") or "")


def is_launcher(pod: Object) -> bool:
    """Whether the Pod stands for a virtual machine: `vms` looks after it, not the kubelet."""
    return (pod["metadata"].get("labels") or {}).get(LAUNCHER_LABEL) == LAUNCHER_VALUE


def owner_reference(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def conditions_of(obj: Object) -> list[Object]:
    return list((obj.get("status") or {}).get("conditions") or [])


def find_condition(obj: Object, kind: str) -> Object | None:
    return next((each for each in conditions_of(obj) if each["type"] == kind), None)


def condition(kind: str, status: bool, reason: str = "", message: str = "", **more: Any) -> Object:
    """A condition without times; `merge_conditions` sets them."""
    document: Object = {"type": kind, "status": "True" if status else "False", **more}
    if reason:
        document["reason"] = reason
    if message:
        document["message"] = message
    return document


def merge_conditions(old: Iterable[Object], new: Iterable[Object], *, beat: str = "lastProbeTime") -> list[Object]:
    """The old conditions with the new in place; a transition time moves only when the status does."""
    merged = {each["type"]: each for each in old}
    for each in new:
        before = merged.get(each["type"])
        if before and _same(before, each):
            continue
        turned = not before or before["status"] != each["status"]
        since = now() if turned else (before or {}).get("lastTransitionTime") or now()
        merged[each["type"]] = {**each, beat: now(), "lastTransitionTime": since}
    return list(merged.values())


def _same(before: Object, after: Object) -> bool:
    return all(before.get(key) == after.get(key) for key in ("status", "reason", "message"))
