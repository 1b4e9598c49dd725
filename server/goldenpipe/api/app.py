"""The application: every route of the contract, in one place."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from goldenpipe.api import images
from goldenpipe.api.documents import moment
from goldenpipe.api.keys import IMAGES, METRICS
from goldenpipe.api.middleware import errors, latency
from goldenpipe.errors import Unavailable
from goldenpipe.images import Images
from goldenpipe.metrics import Metrics
from goldenpipe.model.quantities import format_bytes

LARGEST_BODY = 1024 * 1024


def make_app(use_cases: Images, metrics: Metrics) -> web.Application:
    """The REST API over these use cases."""
    app = web.Application(middlewares=[latency, errors], client_max_size=LARGEST_BODY)
    app[IMAGES] = use_cases
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
    try:
        await request.app[IMAGES].check_health()
    except Unavailable as error:
        return web.json_response({"status": "unhealthy", "error": str(error)}, status=503)
    return web.json_response({"status": "healthy"})


async def vms(request: web.Request) -> web.Response:
    found = request.app[IMAGES].vms()
    return web.json_response({"vms": found, "count": len(found)})


async def vm(request: web.Request) -> web.Response:
    return web.json_response(request.app[IMAGES].vm(request.match_info["name"]))


async def delete_vm(request: web.Request) -> web.Response:
    await request.app[IMAGES].delete_vm(request.match_info["name"])
    return web.json_response({"message": "VM deletion started"})


async def metrics_document(request: web.Request) -> web.Response:
    use_cases = request.app[IMAGES]
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
    use_cases = request.app[IMAGES]
    totals = await use_cases.totals()
    text = request.app[METRICS].text(
        active_vms=use_cases.active_vms(),
        queued=totals.queued,
        running=totals.running,
        storage_bytes=totals.storage_bytes,
    )
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
