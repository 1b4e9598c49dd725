"""A way to the API server on which a test can end every watch, and keep the next ones waiting."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from support.controlplane.plane import ControlPlane

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host", "keep-alive"}


class Proxy:
    """Passes requests on, one by one."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address, self._session = address, session
        self._open = asyncio.Event()
        self._open.set()
        self._watches: set[asyncio.Task[None]] = set()
        self._arrivals = asyncio.Condition()
        self.waiting = 0
        """Watches that have been asked for and are held."""
        self.expired: list[str] = []
        """Paths of the watches that were answered by 410."""

    async def hold(self) -> None:
        """End all watches, as a server does whose time for them is up; those that come next wait."""
        self._open.clear()
        for watch in list(self._watches):
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def until_held(self, count: int) -> None:
        """Return when so many watches wait."""
        async with self._arrivals:
            await self._arrivals.wait_for(lambda: self.waiting >= count)

    def release(self) -> None:
        self._open.set()

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        watches = "watch=true" in request.query_string
        if watches and not self._open.is_set():
            await self._hold_one()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        body = await request.read() or None
        url = self._address + request.raw_path
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            passed = web.StreamResponse(status=answer.status, headers=kept)
            await passed.prepare(request)
            if watches:
                await self._pass_watch(request.path, answer, passed)
            else:
                async for chunk in answer.content.iter_any():
                    await passed.write(chunk)
            await passed.write_eof()
            return passed

    async def _hold_one(self) -> None:
        async with self._arrivals:
            self.waiting += 1
            self._arrivals.notify_all()
        await self._open.wait()
        self.waiting -= 1

    async def _pass_watch(self, path: str, answer: aiohttp.ClientResponse, passed: web.StreamResponse) -> None:
        async def lines() -> None:
            async for line in answer.content:
                document = json.loads(line)
                if answer.status == 410 or document.get("object", {}).get("code") == 410:
                    self.expired.append(path)
                await passed.write(line)

        watch = asyncio.create_task(lines())
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
        finally:
            watch.cancel()
            self._watches.discard(watch)


@asynccontextmanager
async def proxy(plane: ControlPlane, kubeconfig: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    """And a kubeconfig that leads through it."""
    pair = plane.authority.server("proxy", "localhost")
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(pair.certificate, pair.key)
    trust = ssl.create_default_context(cafile=plane.authority.certificate)
    connector = aiohttp.TCPConnector(ssl=trust, limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        passing = Proxy(plane.address, session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", passing.pass_on)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=own).start()
        through = kubeconfig.with_name("kubeconfig-proxy")
        here = f"https://127.0.0.1:{runner.addresses[0][1]}"
        through.write_text(kubeconfig.read_text().replace(plane.address, here))
        try:
            yield passing, through
        finally:
            await runner.cleanup()
