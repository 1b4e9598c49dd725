"""Every answer that is an error is JSON, says what is wrong, and shows nothing of the inside."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from goldenpipe.api.keys import METRICS
from goldenpipe.errors import NoLeader, PublicError
from goldenpipe_kube import KubeError

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except PublicError as error:
        answer = _answer(error.status, str(error), [{"path": f.path, "message": f.message} for f in error.details])
        if isinstance(error, NoLeader):
            answer.headers["Retry-After"] = str(error.retry_after)
        return answer
    except web.HTTPRequestEntityTooLarge:
        return _answer(400, "the body is larger than 1 MiB; keep large files on a server and fetch them in a script")
    except web.HTTPNotFound:
        return _answer(404, f"there is nothing at {request.path}")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        answer = _answer(405, f"{request.method} is not possible at {request.path}; possible: {allowed}")
        answer.headers["Allow"] = allowed
        return answer
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _answer(error.status, error.reason or "the request cannot be served")
    except KubeError as error:
        log.warning("%s %s: %s", request.method, request.path, error)
        return _answer(503, f"the cluster could not do it: {error.message}")
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return _answer(500, "the service has a fault; its log tells more")


@web.middleware
async def latency(request: web.Request, handler: Handler) -> web.StreamResponse:
    start = time.perf_counter()
    code = 500
    try:
        answer = await handler(request)
        code = answer.status
        return answer
    finally:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        if "follow" not in request.query and "watch" not in request.query:
            request.app[METRICS].request_ended(request.method, route, code, time.perf_counter() - start)


def _answer(status: int, message: str, details: list[dict[str, str]] | None = None) -> web.Response:
    document: dict[str, object] = {"error": message}
    if details:
        document["details"] = details
    return web.json_response(document, status=status)
