"""POST, PUT, PATCH and DELETE of objects."""

from __future__ import annotations

from typing import cast

from aiohttp import web

from goldenpipe_kube import Object
from goldenpipe_local.api.answers import json_answer, success
from goldenpipe_local.api.deletion import DeleteOptions
from goldenpipe_local.api.errors import bad_request, invalid_patch
from goldenpipe_local.api.patches import json_patch, merge_patch, strategic_merge_patch
from goldenpipe_local.api.registry import Edit, Registry
from goldenpipe_local.api.requests import Request
from goldenpipe_local.api.selectors import parse_selector
from goldenpipe_local.api.shapes import NotDecodable

_ORPHANING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)


class Writing:
    """Reads a request's body, has the registry do it, and answers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def create(self, request: Request) -> web.Response:
        body = await request.object()
        if request.resource.namespaced and request.namespace is None:
            message = "an empty namespace may not be set during creation"
            raise bad_request(message)
        written = self._registry.create(request.resource, request.in_namespace, body, request.options)
        return json_answer(written.object, status=201, warnings=written.warnings)

    async def update(self, request: Request) -> web.Response:
        body = await request.object()
        written = self._registry.update(
            request.resource,
            request.in_namespace,
            request.name,
            body,
            subresource=request.subresource,
            options=request.options,
        )
        return json_answer(written.object, warnings=written.warnings)

    async def patch(self, request: Request) -> web.Response:
        edit = await _edit(request)
        try:
            written = self._registry.edit(
                request.resource,
                request.in_namespace,
                request.name,
                edit,
                subresource=request.subresource,
                options=request.options,
            )
        except NotDecodable as error:
            raise invalid_patch(error.message) from error
        return json_answer(written.object, warnings=written.warnings)

    async def delete(self, request: Request) -> web.Response:
        delete = await _delete_options(request)
        resource = request.resource
        deleted = self._registry.delete(resource, request.in_namespace, request.name, delete, request.options)
        warnings = [_ORPHANING] if resource.kind == "Job" and delete.propagation is None else []
        # the real server gives back the object where deletion takes time, and every Pod
        if deleted.lingers or resource.kind == "Pod":
            return json_answer(deleted.object, warnings=warnings)
        return success(resource, deleted.object)

    async def delete_collection(self, request: Request) -> web.Response:
        delete = await _delete_options(request)
        resource, namespace = request.resource, request.namespace if request.resource.namespaced else None
        selector = parse_selector(resource, namespace, request.query("labelSelector"), request.query("fieldSelector"))
        items = self._registry.delete_collection(resource, selector, delete, request.options)
        metadata = {"resourceVersion": str(self._registry.store.version)}
        kind = f"{resource.kind}List"
        return json_answer({"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items})


async def _edit(request: Request) -> Edit:
    kind, patch = await request.patch()
    if kind == "application/json-patch+json":
        return lambda current: json_patch(current, patch)
    if not isinstance(patch, dict):
        message = "the patch is no JSON object"
        raise bad_request(message)
    merge = merge_patch if kind == "application/merge-patch+json" else strategic_merge_patch
    return lambda current: cast("Object", merge(current, patch))


async def _delete_options(request: Request) -> DeleteOptions:
    body: Object = dict(await request.body() or {})
    query = request.http.query
    if "propagationPolicy" in query:
        body["propagationPolicy"] = query["propagationPolicy"]
    if "gracePeriodSeconds" in query:
        body["gracePeriodSeconds"] = request.number("gracePeriodSeconds", 0)
    if "orphanDependents" in query:
        body["orphanDependents"] = request.flag("orphanDependents")
    return DeleteOptions.from_json(body)
