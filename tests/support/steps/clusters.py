"""The local cluster's real API server, where the test plays KubeVirt and CDI: it writes the status that they would."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from goldenpipe_kube import Kube, Listed, Object
from goldenpipe_local.api import ApiServer

NAMESPACE = "goldenpipe-system"
VM = "golden-image-web-3fa9c"
DISK = "golden-image-web"
NODE = "here"


@dataclass
class Cluster:
    """The API as its administrator."""

    server: ApiServer
    kube: Kube
    logs: dict[str, str] = field(default_factory=dict)
    """What the node serves as the log of a Pod's container, by `pod/container`."""

    def environ(self, step: str) -> dict[str, str]:
        """What the step's Pod gets: the token of its own service account."""
        account = f"goldenpipe-step-{step.replace('_', '-')}"
        return {"KUBECONFIG": str(self.server.kubeconfig_of(account)), "GOLDENPIPE_NAMESPACE": NAMESPACE}

    def document(self, **params: Any) -> dict[str, Any]:
        return {"vm": VM, "disk": DISK, "namespace": NAMESPACE, "timeout_seconds": 120, "params": params}

    async def make_vm(self) -> Object:
        spec = {"runStrategy": "Manual", "template": {"spec": {"domain": {"devices": {}}, "volumes": []}}}
        return await self.kube.create(_object("kubevirt.io/v1", "VirtualMachine", VM, spec=spec))

    async def make_vmi(self, phase: str, *, ssh_port: int = 22, conditions: list[Object] | None = None) -> Object:
        """The VMI as it is once it has this phase; with an address, as one that runs has."""
        obj = _object("kubevirt.io/v1", "VirtualMachineInstance", VM, spec={"domain": {"devices": {}}})
        obj["metadata"]["annotations"] = {"goldenpipe.io/ssh-port": str(ssh_port)}
        obj["status"] = {"phase": phase, "conditions": conditions or [], "interfaces": [{"ipAddress": "127.0.0.1"}]}
        return await self.kube.create(obj)

    async def set_vmi(self, phase: str, *conditions: Object) -> None:
        patch = {"status": {"phase": phase, "conditions": list(conditions)}}
        await self.kube.patch("VirtualMachineInstance", VM, patch)

    async def set_status(self, kind: str, name: str, **status: Any) -> None:
        await self.kube.patch(kind, name, {"status": status}, subresource="status")

    async def make_disk(self, phase: str = "Pending", *, immediate: bool = True, **http: str) -> None:
        """The DataVolume as the service makes it, and as the API server gives it back."""
        spec = {
            "source": {"http": http or {"url": "http://x"}},
            "storage": {"resources": {"requests": {"storage": "2Gi"}}},
        }
        obj = _object("cdi.kubevirt.io/v1beta1", "DataVolume", DISK, spec=spec)
        if immediate:
            obj["metadata"]["annotations"] = {"cdi.kubevirt.io/storage.bind.immediate.requested": "true"}
        await self.kube.create(obj)
        await self.set_status("DataVolume", DISK, phase=phase)

    async def make_claim(self, phase: str, **annotations: str) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
        obj = _object("v1", "PersistentVolumeClaim", DISK, spec=spec)
        obj["metadata"]["annotations"] = annotations
        await self.kube.create(obj)
        await self.set_status("PersistentVolumeClaim", DISK, phase=phase)

    async def make_source(self) -> None:
        spec = {"source": {"pvc": {"namespace": NAMESPACE, "name": DISK}}}
        await self.kube.create(_object("cdi.kubevirt.io/v1beta1", "DataSource", "web", spec=spec))

    async def make_step_pod(self, step: str, phase: str, log: str) -> None:
        """A Pod of an earlier attempt, with its log."""
        labels = {"goldenpipe.io/build": "web-3fa9c", "goldenpipe.io/step": step}
        await self._make_pod(f"web-3fa9c-{step.replace('_', '-')}-1", phase, labels, "step", log)

    async def make_console(self, vmi: Object, log: str) -> None:
        """KubeVirt's Pod of the VMI, whose second container prints the guest's serial console."""
        labels = {"kubevirt.io/created-by": vmi["metadata"]["uid"]}
        await self._make_pod("virt-launcher-x", "Running", labels, "guest-console-log", log)

    async def _make_pod(self, name: str, phase: str, labels: dict[str, str], container: str, log: str) -> None:
        spec = {"nodeName": NODE, "containers": [{"name": container, "image": "x"}]}
        obj = _object("v1", "Pod", name, spec=spec)
        obj["metadata"]["labels"] = labels
        self.logs[f"{name}/{container}"] = log
        await self.kube.create(obj)
        await self.set_status("Pod", name, phase=phase)

    async def add_node(self, port: int) -> None:
        await self.kube.create(_object("v1", "Node", NODE))
        endpoint = {"kubeletEndpoint": {"Port": port}}
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        await self.set_status("Node", NODE, addresses=addresses, daemonEndpoints=endpoint)

    async def serve_log(self, request: web.Request) -> web.Response:
        key = f"{request.match_info['pod']}/{request.match_info['container']}"
        return web.Response(text=self.logs[key])

    async def vm_is_asked_to(self, action: str) -> None:
        """Wait until somebody has asked for start or stop."""
        async with asyncio.timeout(20):
            async for event in self.kube.watch("VirtualMachine"):
                if not isinstance(event, Listed):
                    requests = (event.object.get("status") or {}).get("stateChangeRequests") or []
                    if any(request["action"].lower() == action for request in requests):
                        return


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _object(api_version: str, kind: str, name: str, **more: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **more}


@contextlib.asynccontextmanager
async def cluster_at(folder: Path) -> AsyncIterator[Cluster]:
    async with ApiServer(folder) as server, await Kube.connect(server.kubeconfig) as kube:
        cluster = Cluster(server, kube)
        async with _kubelet(cluster, folder) as port:
            await cluster.add_node(port)
            yield cluster


@contextlib.asynccontextmanager
async def _kubelet(cluster: Cluster, folder: Path) -> AsyncIterator[int]:
    """The part of a kubelet that serves container logs."""
    certificate, key = folder / "kubelet.crt", folder / "kubelet.key"
    words = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=test", "-out", certificate, "-keyout", key]
    await asyncio.to_thread(subprocess.run, ["openssl", *words], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", cluster.serve_log)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
