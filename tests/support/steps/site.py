"""A web server for base images."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@dataclass
class Server:
    """A web server that has a few files, honours Range, and counts what it is asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every file."""
    has_ranges: bool = True
    fail_from: int = 0
    """Requests that are served before the statuses are."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append((path, request.headers.get("Range", "")))
        if self.statuses.get(path) and len(self.asked) >= self.fail_from:
            status = self.statuses[path].pop(0)
            return web.Response(status=status)
        if path.startswith("/moved/"):
            raise web.HTTPFound(path.removeprefix("/moved"))
        body = self.files.get(path)
        if body is None:
            raise web.HTTPNotFound
        kind = "text/html" if body == PAGE else "application/octet-stream"
        headers = {**self.headers, "Content-Type": kind}
        if not self.has_ranges or "Range" not in request.headers:
            return web.Response(body=body, headers=headers)
        start, _, end = request.headers["Range"].removeprefix("bytes=").partition("-")
        part = body[int(start) : int(end) + 1]
        headers["Content-Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(body)}"
        return web.Response(status=206, body=part, headers=headers)


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
