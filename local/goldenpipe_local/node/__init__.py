"""The node agent: Pods as processes, DataVolumes as qcow2 files, VirtualMachines as QEMU processes."""

from goldenpipe_local.node.agent import NodeAgent

__all__ = ["NodeAgent"]
