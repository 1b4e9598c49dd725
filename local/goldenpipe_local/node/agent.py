"""The node agent: kubelet, CDI and KubeVirt of one machine, put together over one client and one folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from goldenpipe_kube import Kube
from goldenpipe_local.node.certificate import NodeCertificate
from goldenpipe_local.node.disks.claims import ClaimController
from goldenpipe_local.node.disks.controller import DataVolumeController
from goldenpipe_local.node.events import Events
from goldenpipe_local.node.exports.controller import ExportController
from goldenpipe_local.node.files import private_folder
from goldenpipe_local.node.node_object import NodeObject
from goldenpipe_local.node.pods.claims import Claims
from goldenpipe_local.node.pods.controller import PodController
from goldenpipe_local.node.pods.environment import StepKubeconfig
from goldenpipe_local.node.reconciling import Informer
from goldenpipe_local.node.server import NodeServer
from goldenpipe_local.node.vms.accelerator import AcceleratorChoice
from goldenpipe_local.node.vms.instances import InstanceController
from goldenpipe_local.node.vms.machines import MachineController

log = logging.getLogger(__name__)

_KINDS = (
    "Pod",
    "PersistentVolumeClaim",
    "DataVolume",
    "VirtualMachineInstance",
    "VirtualMachine",
    "VirtualMachineExport",
)


class NodeAgent:
    """Runs Pods, disks and machines while its context is open; what runs goes on when it ends.

    All it knows of the cluster it knows through the Kubernetes API; all it knows of processes is in `data_dir`.
    """

    def __init__(
        self, kube: Kube, data_dir: Path, *, step_kubeconfig: StepKubeconfig | None = None, node_name: str = "local"
    ) -> None:
        self._kube = kube
        # paths go into other processes, which run in other folders
        self._root = data_dir.absolute() / "cluster"
        self._node_name = node_name
        self._informers = {kind: Informer(kube, kind) for kind in _KINDS}
        self._events = Events(kube, node_name)
        self._build(step_kubeconfig)
        self._stack = AsyncExitStack()

    def _build(self, step_kubeconfig: StepKubeconfig | None) -> None:
        kube, events, seen = self._kube, self._events, self._informers
        pods, volumes, claims = seen["Pod"], seen["DataVolume"], seen["PersistentVolumeClaim"]
        instances, machines, exports = (
            seen["VirtualMachineInstance"],
            seen["VirtualMachine"],
            seen["VirtualMachineExport"],
        )
        own, disks = private_folder(self._root / "node"), self._root / "volumes"
        certificate = NodeCertificate.ensure(own, self._node_name, "127.0.0.1")
        mountable = Claims(folder=disks, claims=claims, volumes=volumes, instances=instances)
        self._pods = PodController(
            kube,
            pods,
            events,
            self._root / "pods",
            node_name=self._node_name,
            step_kubeconfig=step_kubeconfig,
            find_claim=mountable.find,
        )
        self._volumes = DataVolumeController(kube, events, disks, volumes=volumes, claims=claims, instances=instances)
        self._claims = ClaimController(kube, disks, self._volumes, claims=claims, instances=instances, pods=pods)
        self._instances = InstanceController(
            kube,
            events,
            folder=self._root / "vms",
            claims_folder=disks,
            choice=AcceleratorChoice(own / "accelerator.json"),
            node_name=self._node_name,
            instances=instances,
            pods=pods,
            volumes=volumes,
            claims=claims,
        )
        self._machines = MachineController(kube, events, machines=machines, instances=instances, volumes=volumes)
        self._exports = ExportController(
            kube,
            events,
            folder=self._root / "exports",
            claims_folder=disks,
            exports=exports,
            claims=claims,
            instances=instances,
            volumes=volumes,
            address=lambda: (self._server.address, certificate.text),
        )
        self._server = NodeServer(
            folder=own,
            pods_folder=self._root / "pods",
            machines_folder=self._root / "vms",
            certificate=certificate,
            pods=pods,
            exports=self._exports,
            screenshot=self._instances.screenshot,
        )

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        await self._server.start()
        stack.push_async_callback(self._server.close)
        self._spawn(stack, self._events.run(), "events")
        controllers = (self._pods, self._volumes, self._claims, self._instances, self._machines, self._exports)
        for controller in controllers:
            stack.push_async_callback(controller.close)
        for informer in self._informers.values():
            self._spawn(stack, informer.run(), f"watch of {informer.kind}")
        for informer in self._informers.values():
            await informer.listed()
        self._pods.start()
        self._instances.start()
        self._exports.start()
        await self._claims.start()
        for informer in self._informers.values():
            informer.release()
        node = NodeObject(self._kube, self._node_name, port=self._server.port, folder=self._root)
        await node.register()
        self._spawn(stack, node.keep_alive(), "node status")

    def _spawn(self, stack: AsyncExitStack, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report)
        stack.push_async_callback(_stop, task)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.critical("%s ended, the node agent is not whole any more", task.get_name(), exc_info=task.exception())


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
