"""What a DataVolume and its claim look like at each stage, in CDI's words."""

from __future__ import annotations

from goldenpipe_kube import Object
from goldenpipe_local.node.objects import (
    condition,
    conditions_of,
    find_condition,
    merge_conditions,
    name_of,
    owner_reference,
    uid_of,
)

STORAGE_CLASS = "goldenpipe-local"
WAITING_STORAGE_CLASS = "goldenpipe-local-wait"
"""The same with volumeBindingMode WaitForFirstConsumer: a claim is bound once a virtual machine uses it."""
_IMMEDIATE = "cdi.kubevirt.io/storage.bind.immediate.requested"
_CDIS_LABELS = {"app.kubernetes.io/managed-by": "cdi-controller", "app.kubernetes.io/component": "storage"}
"""What CDI writes on a claim, whatever its DataVolume has there."""
PROTECTION = "kubernetes.io/pvc-protection"
ALLOCATED_BYTES = "goldenpipe.io/allocated-bytes"
_BEAT = "lastHeartbeatTime"


def claim_of(volume: Object, size: str) -> Object:
    """The PersistentVolumeClaim of a DataVolume."""
    spec = volume["spec"].get("storage") or volume["spec"].get("pvc") or {}
    labels = {"app": "containerized-data-importer", **(volume["metadata"].get("labels") or {}), **_CDIS_LABELS}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name_of(volume),
            "labels": labels,
            "annotations": {"cdi.kubevirt.io/createdForDataVolume": uid_of(volume)},
            "ownerReferences": [owner_reference(volume)],
            "finalizers": [PROTECTION],
        },
        "spec": {
            "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "volumeMode": spec.get("volumeMode") or "Filesystem",
            "storageClassName": spec.get("storageClassName") or STORAGE_CLASS,
        },
    }


def bound_claim_status(claim: Object) -> Object:
    return {
        "phase": "Bound",
        "accessModes": claim["spec"]["accessModes"],
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
    }


def pending_status(volume: Object, reason: str, message: str) -> Object:
    new = [condition("Bound", False, reason, message), condition("Ready", False), condition("Running", False)]
    return _status(volume, "Pending", new)


def waits_for_consumer(volume: Object) -> bool:
    """Whether CDI leaves the binding to the first consumer; only the annotation's presence counts."""
    spec = volume["spec"].get("storage") or volume["spec"].get("pvc") or {}
    immediate = _IMMEDIATE in (volume["metadata"].get("annotations") or {})
    return spec.get("storageClassName") == WAITING_STORAGE_CLASS and not immediate


def waiting_status(volume: Object) -> Object:
    return {**pending_status(volume, "Pending", f"PVC {name_of(volume)} Pending"), "phase": "WaitForFirstConsumer"}


def unclaimed_status(volume: Object, reason: str, message: str) -> Object:
    """There is no claim, because the API server refused it."""
    status = pending_status(volume, reason, message)
    unknown = [{**each, "status": "Unknown"} if each["type"] == "Bound" else each for each in status["conditions"]]
    return {**status, "conditions": unknown}


def scheduled_statuses(volume: Object, phase: str) -> list[Object]:
    """One after the other: the claim is bound, is seen to be bound, and the importer is on its way."""
    unbound = find_condition(volume, "Bound") or condition("Bound", False, "Pending")
    rest = [condition("Ready", False), condition("Running", False)]
    return [
        _status(volume, phase, [unbound, *rest]),
        _status(volume, phase, [_bound(volume), *rest]),
        creating_status(volume, phase),
    ]


def creating_status(volume: Object, phase: str) -> Object:
    return _status(volume, phase, [_bound(volume), condition("Ready", False), _running(False, "ContainerCreating")])


def transferring_status(volume: Object, phase: str, restarts: int) -> Object:
    ready = condition("Ready", False, "TransferRunning")
    status = _status(volume, phase, [_bound(volume), ready, _running(True, "Pod is running")])
    return {**status, "restartCount": restarts} if restarts else status


def scratch_status(volume: Object, phase: str) -> Object:
    """The first importer has looked at the source; a second one with scratch space is to fetch it."""
    running = _running(False, "Scratch space required", "scratch space required and none found")
    return _status(volume, phase, [_bound(volume), condition("Ready", False), running])


def completed_status(volume: Object, phase: str, message: str) -> Object:
    return _status(volume, phase, [_bound(volume), condition("Ready", False), _running(False, "Completed", message)])


def progress_status(percent: float) -> Object:
    return {"progress": f"{percent:.2f}%"}


def problem_status(volume: Object, phase: str, message: str) -> Object:
    """The import failed and will be tried again: the phase stays, only the Running condition tells."""
    return _status(volume, phase, [_bound(volume), condition("Ready", False), _running(False, "Error", message)])


def failed_status(volume: Object, reason: str, message: str) -> Object:
    return _status(volume, "Failed", [_bound(volume), condition("Ready", False), _running(False, reason, message)])


def succeeded_status(volume: Object, message: str) -> Object:
    new = [_bound(volume), condition("Ready", True), _running(False, "Completed", message)]
    return {**_status(volume, "Succeeded", new), "progress": "100.0%"}


def running_message(volume: Object) -> str:
    return str((find_condition(volume, "Running") or {}).get("message") or "")


def _bound(volume: Object) -> Object:
    return condition("Bound", True, "Bound", f"PVC {name_of(volume)} Bound")


def _running(status: bool, reason: str, message: str = "") -> Object:
    return condition("Running", status, reason, message)


def _status(volume: Object, phase: str, new: list[Object]) -> Object:
    progress = (volume.get("status") or {}).get("progress") or "N/A"
    return {
        "phase": phase,
        "progress": progress,
        "claimName": name_of(volume),
        "conditions": merge_conditions(conditions_of(volume), new, beat=_BEAT),
    }
