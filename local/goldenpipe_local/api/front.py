"""Every request comes in here: who asks, what for, may they, and who answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from goldenpipe_local.api import discovery
from goldenpipe_local.api.access import Access, User
from goldenpipe_local.api.answers import error_answer, json_answer
from goldenpipe_local.api.authorization import check_allowed, review_access
from goldenpipe_local.api.errors import ApiError, bad_request, conflict, method_not_allowed, shutting_down, unauthorized
from goldenpipe_local.api.eviction import Evictions
from goldenpipe_local.api.logs import Logs
from goldenpipe_local.api.machines import Machines
from goldenpipe_local.api.reading import Reading
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.requests import Request, read_request
from goldenpipe_local.api.scheduler import bind
from goldenpipe_local.api.screenshots import Screenshots
from goldenpipe_local.api.writing import Writing

log = logging.getLogger(__name__)

_PROBES = ("/healthz", "/livez", "/readyz")

Handler = Callable[[Request], Awaitable[web.StreamResponse]]


class Front:
    """The one handler of the application."""

    def __init__(
        self, *, registry: Registry, access: Access, reading: Reading, logs: Logs, screenshots: Screenshots
    ) -> None:
        self._registry = registry
        self._access = access
        self._reading = reading
        self._closing = False
        writing, machines = Writing(registry), Machines(registry)
        self._by_verb: dict[str, Handler] = {
            "get": reading.get,
            "list": reading.list_objects,
            "watch": reading.watch,
            "create": writing.create,
            "update": writing.update,
            "patch": writing.patch,
            "delete": writing.delete,
            "deletecollection": writing.delete_collection,
        }
        self._by_subresource: dict[str, tuple[str, Handler]] = {
            "start": ("update", machines.act),
            "stop": ("update", machines.act),
            "restart": ("update", machines.act),
            "log": ("get", logs.serve),
            "vnc/screenshot": ("get", screenshots.serve),
            "binding": ("create", self._bind),
            "eviction": ("create", Evictions(registry).serve),
        }

    def close(self) -> None:
        """End the watches, and send away who still comes: clients try again until the next server is there."""
        self._closing = True
        self._reading.close()

    async def serve(self, http: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(http)
        except ApiError as error:
            answer = error_answer(error)
            if self._closing:
                answer.force_close()
            return answer
        except Exception:
            log.exception("%s %s failed", http.method, http.path)
            message = "the local API server failed; its log has the reason"
            return error_answer(ApiError(500, "InternalError", message))

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        if self._closing:
            raise shutting_down()
        if http.path in _PROBES:
            return web.Response(text="ok")
        user = self._access.user_of(http.headers.get("Authorization", ""))
        if user is None:
            raise unauthorized()
        document = discovery.document(http.path.rstrip("/"), f"{http.scheme}://{http.host}")
        if document is not None:
            if http.method not in {"GET", "HEAD"}:
                raise method_not_allowed()
            return json_answer(document)
        request = read_request(http)
        check_allowed(user, request)
        return await self._serve_object(user, request)

    async def _serve_object(self, user: User, request: Request) -> web.StreamResponse:
        if request.resource.kind == "SelfSubjectAccessReview":
            return await review_access(user, request)
        if request.subresource in self._by_subresource:
            verb, handler = self._by_subresource[request.subresource]
            if request.verb != verb:
                raise method_not_allowed()
            return await handler(request)
        if request.subresource == "status" and request.verb not in {"get", "update", "patch"}:
            raise method_not_allowed()
        return await self._by_verb[request.verb](request)

    async def _bind(self, request: Request) -> web.Response:
        body = await request.body()
        node = (body.get("target") or {}).get("name") if isinstance(body, dict) else None
        if not isinstance(node, str) or not node:
            message = "a Binding needs target.name, the node's name"
            raise bad_request(message)
        pod = self._registry.get(request.resource, request.in_namespace, request.name)
        bound_to = pod.object["spec"].get("nodeName")
        if bound_to:
            why = f'pod {request.name} is already assigned to node "{bound_to}"'
            raise conflict(request.resource, f"{request.name}/binding", why)
        bind(self._registry, pod, node)
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return json_answer(done, status=201)
