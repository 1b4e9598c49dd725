"""Pod logs: asked of the node that runs the Pod, and passed on as they come."""

from __future__ import annotations

import logging

import aiohttp
from aiohttp import web

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import ApiError, bad_request
from goldenpipe_local.api.kubelets import kubelet_address
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.requests import Request

log = logging.getLogger(__name__)

_PASSED_ON = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes")
_CONNECT_SECONDS = 5.0


class Logs:
    """A proxy to /containerLogs of the kubelets."""

    def __init__(self, registry: Registry, session: aiohttp.ClientSession) -> None:
        self._registry = registry
        self._session = session

    async def serve(self, request: Request) -> web.StreamResponse:
        pod = self._registry.get(request.resource, request.in_namespace, request.name).object
        container = _container(pod, request.query("container"))
        node_name = pod["spec"].get("nodeName")
        if not node_name:
            message = f"pod {request.name} does not have a host assigned"
            raise bad_request(message)
        address = kubelet_address(self._registry, node_name)
        query = {key: value for key, value in request.http.query.items() if key in _PASSED_ON}
        url = f"{address}/containerLogs/{request.in_namespace}/{request.name}/{container}"
        limit = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        try:
            # the kubelet's certificate is its own, as on a real cluster without certificate rotation
            async with self._session.get(url, params=query, ssl=False, timeout=limit) as upstream:
                return await _pass_on(request.http, upstream)
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            words = str(error) or type(error).__name__
            message = f'Get "{url}": the node {node_name} does not answer: {words}'
            raise ApiError(500, "InternalError", message) from error


def _container(pod: Object, asked: str) -> str:
    name = pod["metadata"]["name"]
    groups = ("containers", "initContainers")
    names = [container["name"] for group in groups for container in pod["spec"].get(group) or []]
    if asked and asked not in names:
        message = f"container {asked} is not valid for pod {name}"
        raise bad_request(message)
    if not asked and len(pod["spec"]["containers"]) > 1:
        choices = " ".join(container["name"] for container in pod["spec"]["containers"])
        message = f"a container name must be specified for pod {name}, choose one of: [{choices}]"
        raise bad_request(message)
    return asked or str(names[0])


async def _pass_on(http: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    if upstream.status >= 400:
        text = (await upstream.text()).strip()
        reason = {400: "BadRequest", 404: "NotFound"}.get(upstream.status, "InternalError")
        raise ApiError(upstream.status, reason, text or f"the node answered {upstream.status}")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(http)
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except aiohttp.ClientPayloadError as error:
        log.warning("the log %s broke off: %s", http.path, error)
        # cut the client off, too: it must not take what it has for the whole log
        if http.transport is not None:
            http.transport.abort()
    except ConnectionError:
        # the client has gone, and wants no more of it
        pass
    return response
