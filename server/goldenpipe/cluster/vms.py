"""VMs as the API shows them, and what a VM's state means for a build. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from goldenpipe.cluster.labels import IMAGE, label

Object = dict[str, Any]
VMStatus = Literal["pending", "running", "stopped", "failed", "deleting"]

_FAILED = {"CrashLoopBackOff", "ErrorPvcNotFound"}
_RUNNING = {"Running", "Migrating", "Paused", "Stopping"}
_NOT_YET = {"Pending", "Scheduling", "Scheduled"}
"""Phases of a VMI whose guest does not run; its VM may read Stopping all the same."""
_TELLING = ("Failure", "Synchronized", "Provisioning", "PodScheduled", "Ready")
"""Conditions that may say why a VMI ended; others, such as LiveMigratable, have a message all its life."""
_SAYS_NOTHING = {"GuestNotRunning", "PodTerminating", "PodNotExists"}
_OURS = ("goldenpipe.io/purpose",)


def vm_status(vm: Object, vmi: Object | None) -> VMStatus:
    """The API's word; the first rule that matches wins."""
    status = vm.get("status", {})
    printable, phase = status.get("printableStatus"), _phase(vmi)
    failure = any(c["type"] == "Failure" and c["status"] == "True" for c in status.get("conditions") or [])
    if vm["metadata"].get("deletionTimestamp") or printable == "Terminating":
        return "deleting"
    if phase == "Failed" or printable in _FAILED or failure:
        return "failed"
    if phase == "Succeeded" or (printable == "Stopped" and vmi is None and _has_run(status)):
        return "stopped"
    if printable in _RUNNING and phase not in _NOT_YET:
        return "running"
    return "pending"


def _phase(vmi: Object | None) -> str:
    return str((vmi or {}).get("status", {}).get("phase") or "")


def _has_run(status: Object) -> bool:
    """A VM reads Stopped before it has ever started, too; with an instance comes the generation it was made of."""
    return bool(status.get("created") or status.get("observedGeneration"))


def vm_document(vm: Object, vmi: Object | None) -> Object:
    """A VM in the words of the REST contract."""
    spec = vm["spec"]["template"]["spec"]["domain"]
    created = vm["metadata"]["creationTimestamp"]
    labels = vm["metadata"].get("labels") or {}
    document = {
        "name": vm["metadata"]["name"],
        "image_name": label(vm, IMAGE),
        "status": vm_status(vm, vmi),
        "ip": guest_address(vmi),
        "created_at": created,
        "updated_at": _last_change(vm, vmi) or created,
        "labels": {key: value for key, value in labels.items() if key in _OURS or "goldenpipe.io/" not in key},
        "cpu": spec["cpu"].get("cores"),
        "memory": spec["memory"]["guest"],
    }
    document["labels"].pop("app.kubernetes.io/managed-by", None)
    return {key: value for key, value in document.items() if value is not None}


def guest_address(vmi: Object | None) -> str | None:
    """The address on the first of its template's networks; None while it has none.

    A guest agent may tell of more interfaces (bridges of containers, say), in any order. A VMI that has ended keeps an
    address, which leads nowhere (10.0.2.2).
    """
    if _phase(vmi) in ("Succeeded", "Failed"):
        return None
    networks = (vmi or {}).get("spec", {}).get("networks") or [{}]
    interfaces = (vmi or {}).get("status", {}).get("interfaces") or []
    ours = [each for each in interfaces if each.get("name") == networks[0].get("name", each.get("name"))]
    return next((str(found["ipAddress"]) for found in ours if found.get("ipAddress")), None)


def guest_port(vmi: Object, default: int) -> int:
    """Where the guest's SSH answers; the local node forwards a port and says which."""
    annotations = vmi["metadata"].get("annotations") or {}
    return int(annotations.get("goldenpipe.io/ssh-port", default))


def _last_change(vm: Object, vmi: Object | None) -> str | None:
    moments = [
        str(condition["lastTransitionTime"])
        for obj in (vm, vmi or {})
        for condition in obj.get("status", {}).get("conditions") or []
        if condition.get("lastTransitionTime")
    ]
    moments += [
        str(entry["phaseTransitionTimestamp"])
        for entry in (vmi or {}).get("status", {}).get("phaseTransitionTimestamps") or []
    ]
    return max(moments, key=datetime.fromisoformat, default=None)


def end_of_vm(vm: Object | None, vmi: Object | None) -> str | None:
    """Why a VM that ought to run does not, in words; None while nothing is wrong."""
    if vm is None or vm["metadata"].get("deletionTimestamp"):
        return "the build VM was deleted while the build ran"
    if vmi is None or vmi["metadata"].get("deletionTimestamp"):
        return "the build VM was stopped while the build ran (its VirtualMachineInstance is gone)"
    phase = vmi.get("status", {}).get("phase")
    if phase == "Failed":
        return f"the build VM failed: {_reason(vmi)}"
    if phase == "Succeeded":
        return "the guest powered off before the image was sealed"
    return None


def _reason(vmi: Object) -> str:
    """What the VMI's conditions say of its end."""
    told = [
        str(condition.get("message") or condition.get("reason"))
        for kind in _TELLING
        for condition in vmi.get("status", {}).get("conditions") or []
        if condition["type"] == kind and condition.get("status") == ("True" if kind == "Failure" else "False")
        if (condition.get("message") or condition.get("reason")) and condition.get("reason") not in _SAYS_NOTHING
    ]
    named = vmi.get("status", {}).get("reason")
    return "; ".join(dict.fromkeys(told)) or named or "its QEMU crashed or was killed, and KubeVirt gives no reason"
