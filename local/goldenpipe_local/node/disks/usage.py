"""Which claims the virtual machines of this node hold."""

from __future__ import annotations

from collections.abc import Iterable

from goldenpipe_kube import Object
from goldenpipe_local.node.objects import phase_of

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
