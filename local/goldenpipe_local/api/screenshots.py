"""vnc/screenshot of a VirtualMachineInstance: asked of the node that runs it, as KubeVirt's virt-api does."""

from __future__ import annotations

import aiohttp
from aiohttp import web

from goldenpipe_local.api.errors import ApiError, not_found
from goldenpipe_local.api.kubelets import kubelet_address
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.requests import Request

_SECONDS = 10.0


class Screenshots:
    """A proxy to /screenshots of the nodes."""

    def __init__(self, registry: Registry, session: aiohttp.ClientSession) -> None:
        self._registry = registry
        self._session = session

    async def serve(self, request: Request) -> web.StreamResponse:
        stored = self._registry.store.find(request.resource, (request.in_namespace, request.name))
        if stored is None:
            error = not_found(request.resource, request.name)
            error.message = f'virtualmachineinstance.kubevirt.io "{request.name}" not found'
            raise error
        status = stored.object.get("status") or {}
        if status.get("phase") != "Running" or not status.get("nodeName"):
            raise _refused(request.name, "VMI is not running")
        address = kubelet_address(self._registry, status["nodeName"])
        url = f"{address}/screenshots/{request.in_namespace}/{request.name}"
        limit = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with self._session.get(url, ssl=False, timeout=limit) as upstream:
                if upstream.status != 200:
                    raise _refused(request.name, await upstream.text())
                return web.Response(body=await upstream.read(), content_type="image/png")
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            words = str(error) or type(error).__name__
            message = f"the node {status['nodeName']} does not answer: {words}"
            raise ApiError(500, "InternalError", message) from error


def _refused(name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "{name}": {why}'
    details = {"name": name, "group": "kubevirt.io", "kind": "virtualmachineinstance"}
    return ApiError(409, "Conflict", message, details)
