"""start, stop and screenshots of virtual machines as an aggregated API server, as KubeVirt's virt-api is one.

For VirtualMachines of `runStrategy: Manual`, the only one that builds use.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from goldenpipe_kube import Kube, Object
from support.controlplane.plane import ControlPlane

_GROUP_VERSION = "subresources.kubevirt.io/v1"
_NAMESPACE, _SERVICE = "kubevirt", "virt-api"
_REGISTRATION = "/apis/apiregistration.k8s.io/v1/apiservices"
_NAME = "v1.subresources.kubevirt.io"
_FINAL = ("Succeeded", "Failed")
_NOT_YET = ("", "Unknown")


@asynccontextmanager
async def virt_api(plane: ControlPlane, kube: Kube) -> AsyncIterator[None]:
    """Serves, and is known to the API server, while its context is open; for the namespace of this client."""
    served = _VirtApi(kube)
    runner = web.AppRunner(served.app(), access_log=None)
    await runner.setup()
    pair = plane.authority.server(f"{_SERVICE}.{_NAMESPACE}.svc")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        await asyncio.to_thread(_register, plane, runner.addresses[0][1])
        await _until_available(plane)
        yield
    finally:
        await asyncio.to_thread(plane.call, "DELETE", f"{_REGISTRATION}/{_NAME}")
        await runner.cleanup()


def _register(plane: ControlPlane, port: int) -> None:
    plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}})
    # the one kind of Service that may lead to a loopback address
    service = {"metadata": {"name": _SERVICE}, "spec": {"type": "ExternalName", "externalName": "127.0.0.1"}}
    plane.call("POST", f"/api/v1/namespaces/{_NAMESPACE}/services", service)
    group, _, version = _GROUP_VERSION.partition("/")
    spec = {
        "group": group,
        "version": version,
        "service": {"namespace": _NAMESPACE, "name": _SERVICE, "port": port},
        "caBundle": plane.authority.data,
        "groupPriorityMinimum": 1000,
        "versionPriority": 15,
    }
    plane.must("POST", _REGISTRATION, {"metadata": {"name": _NAME}, "spec": spec})


async def _until_available(plane: ControlPlane) -> None:
    async with asyncio.timeout(60):
        while True:
            _, found = await asyncio.to_thread(plane.call, "GET", f"{_REGISTRATION}/{_NAME}")
            conditions = found.get("status", {}).get("conditions", [])
            if any(each["type"] == "Available" and each["status"] == "True" for each in conditions):
                return
            await asyncio.sleep(0.2)


class _VirtApi:
    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def app(self) -> web.Application:
        app = web.Application()
        app.on_response_prepare.append(_close_after)
        app.router.add_get(f"/apis/{_GROUP_VERSION}", self._discover)
        machine = f"/apis/{_GROUP_VERSION}/namespaces/{self._kube.namespace}/virtualmachines/{{name}}"
        app.router.add_put(f"{machine}/start", self._start)
        app.router.add_put(f"{machine}/stop", self._stop)
        instance = machine.replace("virtualmachines", "virtualmachineinstances")
        app.router.add_get(f"{instance}/vnc/screenshot", self._screenshot)
        return app

    async def _discover(self, _: web.Request) -> web.Response:
        entry = {"singularName": "", "namespaced": True, "kind": "VirtualMachine", "verbs": ["update"]}
        entries = [{"name": f"virtualmachines/{action}", **entry} for action in ("start", "stop")]
        screen = {"kind": "VirtualMachineInstance", "verbs": ["get"]}
        entries.append({**entry, "name": "virtualmachineinstances/vnc", **screen})
        document = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": _GROUP_VERSION, "resources": entries}
        return web.json_response(document)

    async def _start(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        instance = await self._kube.find("VirtualMachineInstance", name)
        if instance and _phase(instance) not in (*_FINAL, *_NOT_YET):
            return _refused(name, "VM is already running")
        again = [_stop_request(instance)] if instance and _phase(instance) in _FINAL else []
        return await self._ask(name, [*again, {"action": "Start"}])

    async def _stop(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        instance = await self._kube.find("VirtualMachineInstance", name)
        if instance is None or _phase(instance) in _FINAL:
            return _refused(name, "VM is not running")
        return await self._ask(name, [_stop_request(instance)])

    async def _screenshot(self, request: web.Request) -> web.Response:
        """As the node agent takes it of the screen that it runs."""
        name = request.match_info["name"]
        instance = await self._kube.get("VirtualMachineInstance", name)
        status = (await self._kube.get("Node", instance["status"]["nodeName"]))["status"]
        address, port = status["addresses"][0]["address"], status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        url = f"https://{address}:{port}/screenshots/{self._kube.namespace}/{name}"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=False) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _ask(self, name: str, requests: list[Any]) -> web.Response:
        machine = await self._kube.get("VirtualMachine", name)
        if machine["spec"].get("runStrategy") != "Manual":
            return _refused(name, "only runStrategy Manual is known here")
        if (machine.get("status") or {}).get("stateChangeRequests") and len(requests) == 1 and "uid" not in requests[0]:
            return _refused(name, "unable to complete request: stop/start already underway")
        patch = {"status": {"stateChangeRequests": requests}}
        await self._kube.patch("VirtualMachine", name, patch, subresource="status")
        return web.Response(status=202)


async def _close_after(_: web.Request, response: web.StreamResponse) -> None:
    # the API server would keep the connection, longer than the test's event loop lives
    response.force_close()


def _phase(instance: Object) -> str:
    return str((instance.get("status") or {}).get("phase") or "")


def _stop_request(instance: Object) -> Object:
    return {"action": "Stop", "uid": instance["metadata"]["uid"]}


def _refused(name: str, why: str) -> web.Response:
    message = f'Operation cannot be fulfilled on virtualmachine.kubevirt.io "{name}": {why}'
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409}
    return web.json_response({**status, "message": message}, status=409)
