"""The Node object: who and where we are, and that we are well."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
from pathlib import Path

from goldenpipe_kube import Kube, KubeError, NotFound, Object
from goldenpipe_local.node.objects import condition, now
from goldenpipe_local.node.server import HOST

log = logging.getLogger(__name__)

BEAT_SECONDS = 20.0
"""A real cluster takes a node for lost after 50 s without a sign of life."""
_MOST_PODS = 110


class NodeObject:
    """Registers the node and keeps it alive."""

    def __init__(self, kube: Kube, name: str, *, port: int, folder: Path) -> None:
        self._kube = kube
        self._name = name
        self._port = port
        self._folder = folder
        self._began = now()

    async def register(self) -> None:
        await self._kube.ensure(self._manifest())
        await self.beat()

    async def keep_alive(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.beat()
            except NotFound:
                await self._kube.ensure(self._manifest())
            except KubeError as error:
                log.debug("no sign of life was written: %s", error)

    async def beat(self) -> None:
        """Write the whole status; the time of the heartbeat is what moves."""
        status = {
            # only an address that can be reached: a client takes the first kind that it knows
            "addresses": [{"type": "InternalIP", "address": HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "conditions": [
                self._condition("Ready", True, "KubeletReady", "the node agent is ready"),
                self._condition("MemoryPressure", False, "KubeletHasSufficientMemory", ""),
                self._condition("DiskPressure", False, "KubeletHasNoDiskPressure", ""),
                self._condition("PIDPressure", False, "KubeletHasSufficientPID", ""),
            ],
            "capacity": _capacity(self._folder),
            "allocatable": _capacity(self._folder),
            "nodeInfo": _info(),
        }
        await self._kube.patch("Node", self._name, {"status": status}, subresource="status")

    def _condition(self, kind: str, status: bool, reason: str, message: str) -> Object:
        times = {"lastHeartbeatTime": now(), "lastTransitionTime": self._began}
        return {**condition(kind, status, reason, message), **times}

    def _manifest(self) -> Object:
        labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux", "kubevirt.io/schedulable": "true"}
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._name, "labels": labels}}


def _capacity(folder: Path) -> Object:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{pages * size // 1024}Ki",
        "pods": str(_MOST_PODS),
        "ephemeral-storage": f"{shutil.disk_usage(folder).total // 1024}Ki",
    }


def _info() -> Object:
    return {
        "operatingSystem": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "kernelVersion": platform.release(),
        "kubeletVersion": "v1.36.0-goldenpipe",
        "kubeProxyVersion": "",
        "containerRuntimeVersion": "process://1",
        "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "machineID": "",
        "systemUUID": "",
        "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }
