"""Answers as the API gives them: JSON, Status objects, warnings."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import ApiError
from goldenpipe_local.api.resources import Resource
from goldenpipe_local.api.store import Stored, encode

_JSON = "application/json"


def json_answer(obj: Object, *, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    answer = raw_answer(encode(obj), status=status)
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        answer.headers.add("Warning", f'299 - "{quoted}"')
    return answer


def raw_answer(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=_JSON)


def error_answer(error: ApiError) -> web.Response:
    return json_answer(error.as_status(), status=error.code)


def success(resource: Resource, obj: Object) -> web.Response:
    """What DELETE answers when nothing is left."""
    metadata = obj["metadata"]
    details = {
        "name": metadata["name"],
        "group": resource.group,
        "kind": resource.plural,
        "uid": metadata["uid"],
    }
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
    return json_answer(status)


def list_head(resource: Resource, metadata: Object) -> bytes:
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
    return encode(head)[:-1]


def raw_list(resource: Resource, metadata: Object, items: Iterable[Stored]) -> bytes:
    """A list put together from objects that are encoded already."""
    return b'%s,"items":[%s]}' % (list_head(resource, metadata), b",".join(item.raw for item in items))
