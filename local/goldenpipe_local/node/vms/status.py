"""The status of VirtualMachines and their instances, in KubeVirt's words: pure functions of what is seen."""

from __future__ import annotations

from collections.abc import Iterable

from goldenpipe_kube import Object
from goldenpipe_local.node.objects import (
    condition,
    conditions_of,
    find_condition,
    is_deleting,
    merge_conditions,
    now,
    phase_of,
)
from goldenpipe_local.node.vms.hardware import firmware_uuid, mac_of
from goldenpipe_local.node.vms.machine import Plan

FINAL_PHASES = ("Succeeded", "Failed")
SSH_PORT = "goldenpipe.io/ssh-port"
SINGLE_VCPU = "goldenpipe.io/SingleVCPU"
HOST = "127.0.0.1"
_AFTER_THE_END = "10.0.2.2"
"""KubeVirt shows the launcher's inner address for a machine that has ended."""


def phase_patch(instance: Object, phase: str, *new: Object) -> Object:
    """A patch that takes the instance to a phase; instances have no status subresource."""
    status: Object = {"phase": phase, "conditions": merge_conditions(conditions_of(instance), new)}
    if phase != phase_of(instance):
        known = (instance.get("status") or {}).get("phaseTransitionTimestamps") or []
        status["phaseTransitionTimestamps"] = [*known, {"phase": phase, "phaseTransitionTimestamp": now()}]
    return {"status": status}


def waiting_conditions(reason: str, message: str) -> tuple[Object, ...]:
    return (
        condition("Ready", False, "PodNotExists", "virt-launcher pod has not yet been scheduled"),
        condition("PodScheduled", False, "Unschedulable", message),
        condition("Synchronized", False, reason, message),
    )


def not_running_conditions() -> tuple[Object, ...]:
    return (
        condition("Ready", False, "GuestNotRunning", "Guest VM is not reported as running"),
        condition("DataVolumesReady", True, "AllDVsReady", "All of the VMI's DVs are bound and ready"),
    )


def running_patch(instance: Object, plan: Plan) -> Object:
    patch = phase_patch(instance, "Running", condition("Ready", True), *_plan_conditions(plan))
    patch["status"]["interfaces"] = _interfaces(instance, HOST)
    if plan.ssh_port:
        patch["metadata"] = {"annotations": {SSH_PORT: str(plan.ssh_port)}}
    return patch


def ended_patch(instance: Object, *, clean: bool, message: str) -> Object:
    words = "Guest VM is not reported as running" if clean else message
    new = [condition("Ready", False, "GuestNotRunning", words)]
    if not clean:
        new.append(condition("Synchronized", False, "GuestFailed", message))
    patch = phase_patch(instance, "Succeeded" if clean else "Failed", *new)
    if (instance.get("status") or {}).get("interfaces"):
        patch["status"]["interfaces"] = _interfaces(instance, _AFTER_THE_END)
    return patch


def _plan_conditions(plan: Plan) -> Iterable[Object]:
    if plan.emulation_reason:
        yield condition("SoftwareEmulation", True, "KVMNotUsable", plan.emulation_reason)
    if plan.panic:
        words = f"the guest's kernel panicked with several vCPUs and was started again with one: {plan.panic}"
        yield condition(SINGLE_VCPU, True, "KernelPanic", words)


def _interfaces(instance: Object, address: str) -> list[Object]:
    spec = instance["spec"]
    interfaces = (spec["domain"].get("devices") or {}).get("interfaces") or [{"name": "default"}]
    first = interfaces[0]
    return [
        {
            "name": first.get("name") or "default",
            "mac": first.get("macAddress") or mac_of(firmware_uuid(instance)),
            "ipAddress": address,
            "ipAddresses": [address],
            "infoSource": "domain",
            "linkState": "up",
            "podInterfaceName": "eth0",
            "queueCount": 1,
        }
    ]


def machine_status(machine: Object, instance: Object | None, volumes: Iterable[Object]) -> Object:
    """The whole status of a VirtualMachine, but for its requests."""
    created = instance is not None
    ready = created and (find_condition(instance or {}, "Ready") or {}).get("status") == "True"
    status: Object = {
        "created": True if created else None,
        "ready": True if ready else None,
        "printableStatus": printable_status(machine, instance, list(volumes)),
        "conditions": _machine_conditions(machine, instance),
    }
    if created:
        generation = machine["metadata"].get("generation")
        status |= {"runStrategy": run_strategy(machine)}
        status |= {"observedGeneration": generation, "desiredGeneration": generation}
    return status


def _machine_conditions(machine: Object, instance: Object | None) -> list[Object]:
    known = conditions_of(machine)
    if instance is None:
        return merge_conditions(known, [condition("Ready", False, "VMINotExists", "VMI does not exist")])
    copied = conditions_of(instance)
    if not any(each["type"] == "Ready" for each in copied):
        message = "VMI is missing the Ready condition"
        copied = merge_conditions(copied, [condition("Ready", False, "VMIConditionMissing", message)])
    return copied


def printable_status(machine: Object, instance: Object | None, volumes: list[Object]) -> str:
    """One word for people, by KubeVirt's precedence; `volumes` are the machine's DataVolumes."""
    phase = phase_of(instance) if instance else ""
    if is_deleting(machine):
        return "Terminating"
    if instance and is_deleting(instance) and phase not in FINAL_PHASES:
        return "Stopping"
    if phase == "Running":
        return "Running"
    waiting = (find_condition(instance, "Synchronized") or {}) if instance else {}
    if phase not in FINAL_PHASES and waiting.get("reason") == "FailedPvcNotFound":
        return "ErrorPvcNotFound"
    if phase not in FINAL_PHASES and _wants_to_run(machine, instance):
        if any(_has_failed(volume) for volume in volumes):
            return "DataVolumeError"
        if any(phase_of(volume) != "Succeeded" for volume in volumes):
            return "Provisioning"
    if instance and phase not in FINAL_PHASES:
        return "Starting"
    return "Stopped"


def run_strategy(machine: Object) -> str:
    spec = machine["spec"]
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted"))


def _wants_to_run(machine: Object, instance: Object | None) -> bool:
    return instance is not None or run_strategy(machine) not in ("Manual", "Halted")


def _has_failed(volume: Object) -> bool:
    return phase_of(volume) == "Failed" or (find_condition(volume, "Running") or {}).get("reason") == "Error"
