"""The application: every route of the contract, in one place."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from goldenpipe.api import images
from goldenpipe.api.documents import moment
from goldenpipe.api.forwarding import led
from goldenpipe.api.keys import IMAGES, METRICS, ROLE
from goldenpipe.api.middleware import errors, latency
from goldenpipe.api.role import Role
from goldenpipe.errors import Unavailable
from goldenpipe.metrics import Metrics
from goldenpipe.model.quantities import format_bytes

LARGEST_BODY = 1024 * 1024


def make_app(role: Role, metrics: Metrics) -> web.Application:
    """The REST API of a service in this role."""
    app = web.Application(middlewares=[latency, errors, led], client_max_size=LARGEST_BODY)
    app[ROLE] = role
    app[METRICS] = metrics
    image = "/api/v1/images/{name}"
    app.add_routes(
        [
            web.get("/api/v1/health", health),
            web.post("/api/v1/images", images.create),
            web.get("/api/v1/images", images.select),
            web.get(image, images.get),
            web.delete(image, images.delete),
            web.get(f"{image}/status", images.status),
            web.get(f"{image}/steps/{{step}}/logs", images.log),
            web.get(f"{image}/screenshot", images.screenshot),
            web.get(f"{image}/export", images.export, allow_head=False),
            web.get("/api/v1/vms", vms),
            web.get("/api/v1/vms/{name}", vm),
            web.delete("/api/v1/vms/{name}", delete_vm),
            web.get("/api/v1/metrics", metrics_document),
            web.get("/metrics", metrics_text),
        ]
    )
    return app


async def health(request: web.Request) -> web.Response:
    role = request.app[ROLE]
    headers = {"X-GoldenPipe-Role": role.name}
    try:
        await role.check_health()
    except Unavailable as error:
        return web.json_response({"status": "unhealthy", "error": str(error)}, status=503, headers=headers)
    return web.json_response({"status": "healthy"}, headers=headers)


async def vms(request: web.Request) -> web.Response:
    found = request[IMAGES].vms()
    return web.json_response({"vms": found, "count": len(found)})


async def vm(request: web.Request) -> web.Response:
    return web.json_response(request[IMAGES].vm(request.match_info["name"]))


async def delete_vm(request: web.Request) -> web.Response:
    await request[IMAGES].delete_vm(request.match_info["name"])
    return web.json_response({"message": "VM deletion started"})


async def metrics_document(request: web.Request) -> web.Response:
    use_cases = request[IMAGES]
    totals = await use_cases.totals()
    return web.json_response(
        {
            "total_images": totals.images,
            "active_vms": use_cases.active_vms(),
            "failed_images": totals.failed,
            "storage_used": format_bytes(totals.storage_bytes),
            "last_updated": moment(datetime.now(UTC)),
        }
    )


async def metrics_text(request: web.Request) -> web.Response:
    """This service's own figures; what is counted of images is the leader's, so that sums over services are right."""
    role, metrics = request.app[ROLE], request.app[METRICS]
    images = role.images
    if images is None:
        text = metrics.text(active_vms=0, queued=0, running=0, storage_bytes=0, leads=False)
    else:
        totals = await images.totals()
        text = metrics.text(
            active_vms=images.active_vms(),
            queued=totals.queued,
            running=totals.running,
            storage_bytes=totals.storage_bytes,
            leads=role.leads,
        )
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
