"""The kinds GoldenPipe uses and where the API serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as JSON reads it."""
Items = list[Object]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind: its API group and version, its plural, and whether it lives in a namespace."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str | None = None, subresource: str | None = None) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


def _core(plural: str, *, namespaced: bool = True) -> Kind:
    return Kind(group="", version="v1", plural=plural, namespaced=namespaced)


KINDS: dict[str, Kind] = {
    "ConfigMap": _core("configmaps"),
    "Event": _core("events"),
    "Namespace": _core("namespaces", namespaced=False),
    "Node": _core("nodes", namespaced=False),
    "PersistentVolumeClaim": _core("persistentvolumeclaims"),
    "Pod": _core("pods"),
    "Secret": _core("secrets"),
    "Service": _core("services"),
    "ServiceAccount": _core("serviceaccounts"),
    "Job": Kind(group="batch", version="v1", plural="jobs"),
    "Lease": Kind(group="coordination.k8s.io", version="v1", plural="leases"),
    "DataSource": Kind(group="cdi.kubevirt.io", version="v1beta1", plural="datasources"),
    "DataVolume": Kind(group="cdi.kubevirt.io", version="v1beta1", plural="datavolumes"),
    "VirtualMachine": Kind(group="kubevirt.io", version="v1", plural="virtualmachines"),
    "VirtualMachineInstance": Kind(group="kubevirt.io", version="v1", plural="virtualmachineinstances"),
    "VirtualMachineExport": Kind(group="export.kubevirt.io", version="v1beta1", plural="virtualmachineexports"),
    "SelfSubjectAccessReview": Kind(
        group="authorization.k8s.io", version="v1", plural="selfsubjectaccessreviews", namespaced=False
    ),
}
