"""A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager, and what else a cluster has."""

from support.controlplane.cluster import Cluster, cluster_on
from support.controlplane.plane import ControlPlane
from support.controlplane.programs import Programs, missing_programs

__all__ = ["Cluster", "ControlPlane", "Programs", "cluster_on", "missing_programs"]
