"""The node's HTTPS server: logs and screenshots for the API server, exports for who has their token."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from goldenpipe_kube import Object
from goldenpipe_local.node.certificate import NodeCertificate
from goldenpipe_local.node.exports.controller import ExportController
from goldenpipe_local.node.files import read_json, write_json
from goldenpipe_local.node.objects import is_launcher, uid_of
from goldenpipe_local.node.pods.container import Container, NotStarted, Running
from goldenpipe_local.node.pods.logs import LogOptions, LogSource, read_log
from goldenpipe_local.node.reconciling import Informer
from goldenpipe_local.node.vms.launcher import CREATED_BY
from goldenpipe_local.node.vms.qemu import SERIAL_LOG

HOST = "127.0.0.1"
TOKEN_HEADER = "x-kubevirt-export-token"
_SHUTDOWN_SECONDS = 1.0


class NodeServer:
    """Listens on a loopback port, the same one after a restart if it is still free."""

    def __init__(
        self,
        *,
        folder: Path,
        pods_folder: Path,
        machines_folder: Path,
        certificate: NodeCertificate,
        pods: Informer,
        exports: ExportController,
        screenshot: Callable[[str], Awaitable[bytes | None]],
    ) -> None:
        self._folder = folder
        self._pods_folder = pods_folder
        self._machines_folder = machines_folder
        self._certificate = certificate
        self._pods = pods
        self._exports = exports
        self._screenshot = screenshot
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"https://{HOST}:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/screenshots/{namespace}/{name}", self._screen)
        app.router.add_get("/exports/{namespace}/{name}/disk.qcow2", self._export)
        app.router.add_get("/healthz", self._health)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        self._runner = runner
        known = read_json(self._folder / "port") or 0
        try:
            await self._listen(runner, known)
        except OSError:
            await self._listen(runner, 0)
        write_json(self._folder / "port", self.port)

    async def close(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _listen(self, runner: web.AppRunner, port: int) -> None:
        await web.TCPSite(runner, HOST, port, ssl_context=self._certificate.context()).start()
        self.port = int(runner.addresses[-1][1])

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        pod = self._pods.get(request.match_info["pod"])
        if pod is None:
            raise web.HTTPNotFound(text=f"pod {request.match_info['pod']} is not on this node")
        try:
            options = LogOptions.from_query(dict(request.query))
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"log options: {error}") from error
        source = self._source(pod, request.match_info["container"])
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        # an API server keeps its connections, and an open one outlives the node agent
        response.force_close()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            async with contextlib.aclosing(read_log(source, options)) as pieces:
                async for piece in pieces:
                    await response.write(piece)
            await response.write_eof()
        return response

    def _source(self, pod: Object, name: str) -> LogSource:
        if is_launcher(pod):
            folder = self._machines_folder / pod["metadata"]["labels"][CREATED_BY]
            if not folder.exists():
                raise _waiting(pod, name)
            return LogSource(path=folder / SERIAL_LOG, timed=False, is_over=lambda: (folder / "result.json").exists())
        container = Container(self._pods_folder / uid_of(pod) / "container")
        if isinstance(container.state(), NotStarted):
            raise _waiting(pod, name)
        return LogSource(path=container.log, timed=True, is_over=lambda: not isinstance(container.state(), Running))

    async def _screen(self, request: web.Request) -> web.Response:
        picture = await self._screenshot(request.match_info["name"])
        if picture is None:
            raise web.HTTPConflict(text="VMI is not running, or has no display")
        return web.Response(body=picture, content_type="image/png")

    async def _export(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get(TOKEN_HEADER) or request.query.get(TOKEN_HEADER) or ""
        path = await self._exports.open(request.match_info["name"], token)
        if path is None:
            raise web.HTTPUnauthorized(text=f"no such export, or the header {TOKEN_HEADER} is not its token")
        return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})


def _waiting(pod: Object, container: str) -> web.HTTPBadRequest:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    reason = ((statuses[0].get("state") or {}).get("waiting") or {}).get("reason") or "ContainerCreating"
    name = pod["metadata"]["name"]
    return web.HTTPBadRequest(text=f'container "{container}" in pod "{name}" is waiting to start: {reason}')
