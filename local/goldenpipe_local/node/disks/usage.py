"""Which claims the virtual machines and Pods of this node hold."""

from __future__ import annotations

from collections.abc import Iterable

from goldenpipe_kube import Object
from goldenpipe_local.node.objects import name_of, phase_of

FINAL_PHASES = ("Succeeded", "Failed")


def claim_names(instance: Object) -> list[str]:
    """The claims behind a virtual machine's volumes; a DataVolume's claim bears its name."""
    names = []
    for volume in instance["spec"].get("volumes") or []:
        if "dataVolume" in volume:
            names.append(str(volume["dataVolume"]["name"]))
        elif "persistentVolumeClaim" in volume:
            names.append(str(volume["persistentVolumeClaim"]["claimName"]))
    return names


def is_in_use(claim: str, instances: Iterable[Object]) -> bool:
    """Whether a virtual machine that has not ended holds the claim."""
    return any(phase_of(each) not in FINAL_PHASES and claim in claim_names(each) for each in instances)


def mounted_claims(pod: Object) -> list[str]:
    """The claims that a Pod mounts."""
    volumes = pod["spec"].get("volumes") or []
    return [str(each["persistentVolumeClaim"]["claimName"]) for each in volumes if "persistentVolumeClaim" in each]


def is_mounted(claim: str, pods: Iterable[Object]) -> bool:
    """Whether a Pod names the claim; as on a cluster one that has ended holds it until it is deleted."""
    return any(claim in mounted_claims(pod) for pod in pods)


def user_of_disk(claim: str, instances: Iterable[Object]) -> str:
    """The virtual machine that writes to the claim; a CD-ROM may be read by others at the same time."""
    for instance in instances:
        if phase_of(instance) in FINAL_PHASES:
            continue
        disks = (instance["spec"]["domain"].get("devices") or {}).get("disks") or []
        cdroms = {disk["name"] for disk in disks if "cdrom" in disk}
        volumes = [each for each in instance["spec"].get("volumes") or [] if each["name"] not in cdroms]
        if claim in claim_names({"spec": {"volumes": volumes}}):
            return name_of(instance)
    return ""


def user_of_files(claim: str, pods: Iterable[Object]) -> str:
    """The Pod that mounts the claim and has not ended."""
    running = (pod for pod in pods if phase_of(pod) not in FINAL_PHASES)
    return next((name_of(pod) for pod in running if claim in mounted_claims(pod)), "")
