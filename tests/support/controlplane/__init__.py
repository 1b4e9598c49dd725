"""A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager, and what else a cluster has."""

from support.controlplane.plane import ControlPlane
from support.controlplane.programs import Programs, missing_programs

__all__ = ["ControlPlane", "Programs", "missing_programs"]
