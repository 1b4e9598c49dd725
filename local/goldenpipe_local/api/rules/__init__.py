"""What the API does to and asks of an object of each kind before it keeps it."""

from __future__ import annotations

from goldenpipe_local.api.resources import Resource
from goldenpipe_local.api.rules.base import Rules, Unknown
from goldenpipe_local.api.rules.core import (
    ConfigMapRules,
    EventRules,
    LeaseRules,
    NamespaceRules,
    NodeRules,
    PersistentVolumeClaimRules,
    SecretRules,
    ServiceRules,
)
from goldenpipe_local.api.rules.job import JobRules
from goldenpipe_local.api.rules.kubevirt import DataVolumeRules, VirtualMachineRules
from goldenpipe_local.api.rules.pod import PodRules

__all__ = ["Rules", "Unknown", "rules_of"]

_RULES: dict[str, Rules] = {
    "configmaps": ConfigMapRules(),
    "datavolumes.cdi.kubevirt.io": DataVolumeRules(),
    "events": EventRules(),
    "jobs.batch": JobRules(),
    "leases.coordination.k8s.io": LeaseRules(),
    "namespaces": NamespaceRules(),
    "nodes": NodeRules(),
    "persistentvolumeclaims": PersistentVolumeClaimRules(),
    "pods": PodRules(),
    "secrets": SecretRules(),
    "services": ServiceRules(),
    "virtualmachines.kubevirt.io": VirtualMachineRules(),
}
_GENERAL = Rules()


def rules_of(resource: Resource) -> Rules:
    return _RULES.get(resource.key, _GENERAL)
