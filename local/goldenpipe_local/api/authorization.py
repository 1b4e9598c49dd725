"""May this user do this? Asked before every request, and by clients about themselves."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from goldenpipe_local.api.access import User
from goldenpipe_local.api.answers import json_answer
from goldenpipe_local.api.errors import ApiError, bad_request
from goldenpipe_local.api.requests import Request


def check_allowed(user: User, request: Request) -> None:
    if request.resource.kind == "SelfSubjectAccessReview":
        return
    if user.may(request.verb, request.group, request.place):
        return
    where = f' in the namespace "{request.namespace}"' if request.namespace else " at the cluster scope"
    key = f"{request.resource.plural}.{request.group}" if request.group else request.resource.plural
    shown = f' "{request.name}"' if request.name else ""
    message = (
        f'{key}{shown} is forbidden: User "{user.name}" cannot {request.verb} resource "{request.place}" '
        f'in API group "{request.group}"{where}'
    )
    details = {"name": request.name, "group": request.group, "kind": request.resource.plural}
    raise ApiError(403, "Forbidden", message, {key: value for key, value in details.items() if value})


async def review_access(user: User, request: Request) -> web.Response:
    """SelfSubjectAccessReview: what `kubectl auth can-i` asks."""
    review: Any = await request.body()
    spec = review.get("spec") if isinstance(review, dict) else None
    if not isinstance(spec, dict):
        message = "a SelfSubjectAccessReview needs a spec with resourceAttributes"
        raise bad_request(message)
    asked = spec.get("resourceAttributes") or {}
    place = asked.get("resource", "")
    if asked.get("subresource"):
        place = f"{place}/{asked['subresource']}"
    allowed = not asked or user.may(asked.get("verb", ""), asked.get("group", ""), place)
    review.setdefault("metadata", {})
    return json_answer({**review, "status": {"allowed": allowed}}, status=201)
