"""A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager, and what else a cluster has."""

from support.controlplane.cluster import Cluster, cluster_on
from support.controlplane.definitions import KUBEVIRT_BEFORE, KUBEVIRT_NOW, definitions, missing_definitions
from support.controlplane.installation import SERVICE, STEP, grant, objects_of
from support.controlplane.plane import ControlPlane
from support.controlplane.programs import Programs, missing_programs

__all__ = [
    "KUBEVIRT_BEFORE",
    "KUBEVIRT_NOW",
    "SERVICE",
    "STEP",
    "Cluster",
    "ControlPlane",
    "Programs",
    "cluster_on",
    "definitions",
    "grant",
    "missing_definitions",
    "missing_programs",
    "objects_of",
]
