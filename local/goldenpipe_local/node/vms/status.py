"""The status of VirtualMachines and their instances, in KubeVirt's words: pure functions of what is seen."""

from __future__ import annotations

from collections.abc import Iterable

from goldenpipe_kube import Object
from goldenpipe_local.node.disks.usage import claim_names
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
NOT_RUNNING = condition("Ready", False, "GuestNotRunning", "Guest VM is not reported as running")
LAUNCHER_ENDS = condition("Ready", False, "PodTerminating", "virt-launcher pod is terminating")
RUNNING = condition("Ready", True)


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
    disks = condition("DataVolumesReady", True, "AllDVsReady", "All of the VMI's DVs are bound and ready")
    return NOT_RUNNING, disks


def scheduling_patch(instance: Object) -> Object:
    """The disks are there, so that nothing is waited for any more."""
    patch = phase_patch(instance, "Scheduling", *not_running_conditions())
    return _without(patch, "Synchronized", "PodScheduled")


def _without(patch: Object, *kinds: str) -> Object:
    conditions = [each for each in patch["status"]["conditions"] if each["type"] not in kinds]
    return {**patch, "status": {**patch["status"], "conditions": conditions}}


def scheduled_patch(instance: Object, node: str) -> Object:
    patch = phase_patch(instance, "Scheduled", *not_running_conditions())
    patch["metadata"] = {"labels": {"kubevirt.io/nodeName": node}}
    patch["status"] |= {
        "nodeName": node,
        "interfaces": [{"name": _interface(instance)["name"], "podInterfaceName": "eth0"}],
    }
    return patch


def migration_patch(instance: Object) -> Object:
    """A machine on disks of one node stays there, and says so all its life, as if something were wrong."""
    claims = claim_names(instance)
    words = (
        f"cannot migrate VMI: PVC {claims[0] if claims else ''} is not shared, live migration requires that all PVCs "
        "must be shared (using ReadWriteMany access mode)"
    )
    stays = condition("LiveMigratable", False, "DisksNotLiveMigratable", words)
    return phase_patch(instance, phase_of(instance), stays, condition("StorageLiveMigratable", True)) if claims else {}


def running_patch(instance: Object, plan: Plan) -> Object:
    patch = phase_patch(instance, "Running", *_plan_conditions(plan))
    patch["status"]["interfaces"] = [{**_interface(instance), "ipAddress": HOST, "ipAddresses": [HOST]}]
    if plan.ssh_port:
        patch["metadata"] = {"annotations": {SSH_PORT: str(plan.ssh_port)}}
    return patch


def ended_patch(instance: Object, *, clean: bool, message: str) -> Object:
    """The end as it is told first, while the machine still reads ready; without a message it had never run."""
    why = [condition("Synchronized", False, "GuestFailed", message)] if message and not clean else []
    patch = phase_patch(instance, "Succeeded" if clean else "Failed", *why)
    if not why:
        patch = _without(patch, "Synchronized")
    if (instance.get("status") or {}).get("interfaces"):
        # an address that only the guest agent knows would be 10.0.2.2 now
        patch["status"]["interfaces"] = [_interface(instance)]
    return patch


def _plan_conditions(plan: Plan) -> Iterable[Object]:
    if plan.emulation_reason:
        yield condition("SoftwareEmulation", True, "KVMNotUsable", plan.emulation_reason)
    if plan.panic:
        words = f"the guest's kernel panicked with several vCPUs and was started again with one: {plan.panic}"
        yield condition(SINGLE_VCPU, True, "KernelPanic", words)


def _interface(instance: Object) -> Object:
    """The only network interface, without an address."""
    spec = instance["spec"]
    first = ((spec["domain"].get("devices") or {}).get("interfaces") or [{"name": "default"}])[0]
    return {
        "name": first.get("name") or "default",
        "mac": first.get("macAddress") or mac_of(firmware_uuid(instance)),
        "infoSource": "domain",
        "linkState": "up",
        "podInterfaceName": "eth0",
        "queueCount": 1,
    }


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
    wanted = phase not in FINAL_PHASES and _wants_to_run(machine, instance)
    if wanted and any(_has_failed(volume) for volume in volumes):
        return "DataVolumeError"
    if instance and (find_condition(instance, "PodScheduled") or {}).get("reason") == "Unschedulable":
        return "ErrorUnschedulable"
    if wanted and any(phase_of(volume) != "Succeeded" for volume in volumes):
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
