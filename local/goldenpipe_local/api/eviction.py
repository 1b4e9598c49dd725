"""The Eviction API: a Pod is deleted, and its status says that nobody is to blame."""

from __future__ import annotations

from aiohttp import web

from goldenpipe_kube import Object
from goldenpipe_local.api.answers import json_answer
from goldenpipe_local.api.clock import utc_now
from goldenpipe_local.api.deletion import DeleteOptions
from goldenpipe_local.api.errors import bad_request
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.requests import Request
from goldenpipe_local.api.scheduler import with_condition


class Evictions:
    """There are no disruption budgets here, so every Pod may be evicted."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def serve(self, request: Request) -> web.Response:
        body = await request.body()
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(metadata, dict) or metadata.get("name") != request.name:
            message = "name in URL does not match name in Eviction object"
            raise bad_request(message)
        resource, namespace = request.resource, request.in_namespace
        pod = self._registry.get(resource, namespace, request.name)
        options = DeleteOptions.from_json(body.get("deleteOptions") or {})
        if not request.options.dry_run:
            self._registry.overwrite(resource, _disrupted(pod.object))
        self._registry.delete(resource, namespace, request.name, options, request.options)
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return json_answer(done, status=201)


def _disrupted(pod: Object) -> Object:
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    return with_condition(pod, condition, utc_now())
