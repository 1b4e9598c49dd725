"""The service as a whole: REST at all times, and its part in the election of the one that works."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from aiohttp import web

from goldenpipe.api.app import make_app
from goldenpipe.api.role import Role
from goldenpipe.cluster.election import Election
from goldenpipe.cluster.lease import Candidate
from goldenpipe.duty import Duty, cancel
from goldenpipe.metrics import Metrics
from goldenpipe.settings import Settings
from goldenpipe.store import own_folder
from goldenpipe.tasks import guard
from goldenpipe_kube import Kube


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service."""

    address: str
    kubeconfig: Path | None


@asynccontextmanager
async def running(settings: Settings, *, kubeconfig: Path | None) -> AsyncIterator[Service]:
    """Serve REST against the cluster of this kubeconfig (None: the Pod's own) until the block is left.

    When the block is entered, it is known whether this service leads.
    """
    host = socket.gethostname()
    identity = f"{host}_{uuid4()}"
    async with AsyncExitStack() as stack:
        before = stack.enter_context(own_folder(settings.data_dir, identity))
        # of another host it may still run, on a volume that was taken from it by force
        predecessor = before if before and before.rpartition("_")[0] == host else None
        kube = await stack.enter_async_context(await Kube.connect(kubeconfig, namespace=settings.namespace))
        metrics, role = Metrics(), Role(kube=kube)
        part = Part(role)
        stack.push_async_callback(part.close)
        address = await _listen(stack, make_app(role, metrics), settings)
        election = Election(kube, Candidate(identity, predecessor, _advertised(settings, address)))
        role.elsewhere = lambda: election.leader
        await part.take(election, Duty(settings, kube.fenced(election.remaining), metrics, election.remaining))
        yield Service(address=address, kubeconfig=kubeconfig)


class Part:
    """This service's part in the election.

    When it loses because the cluster's API is away, it still tells what it knows, until it leads again or another does.
    """

    def __init__(self, role: Role) -> None:
        self._role = role
        self._known = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._duty: Duty | None = None

    async def take(self, election: Election, duty: Duty) -> None:
        """Begin; return as soon as it is known whether this service leads, and raise what kept it from leading."""

        async def work(term: int) -> None:
            await self._lead(duty, term)

        async def stand_by() -> None:
            if election.leader is not None:
                self._role.images = None
                await duty.end()
            self._known.set()

        self._duty = duty
        running = asyncio.create_task(election.run(work, stand_by), name="election")
        waiting = asyncio.create_task(self._known.wait())
        self._task = guard(_outcome(running, waiting), "election")
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            self._task.cancel()
            running.result()

    async def _lead(self, duty: Duty, term: int) -> None:
        try:
            self._role.images = None
            self._role.images = await duty.begin(term)
            self._role.leads = True
            self._known.set()
            await asyncio.get_running_loop().create_future()
        finally:
            self._role.leads = False
            await duty.stop()

    async def close(self) -> None:
        if self._task is not None:
            await cancel(self._task)
        if self._duty is not None:
            await self._duty.end()


async def _outcome(running: asyncio.Task[None], waiting: asyncio.Task[bool]) -> None:
    """Cancelled together; before it is known who leads, the end of the election is for others to tell."""
    try:
        await waiting
        await running
    except asyncio.CancelledError:
        waiting.cancel()
        if not running.done():
            await cancel(running)
        raise


async def _listen(stack: AsyncExitStack, app: web.Application, settings: Settings) -> str:
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, settings.host, settings.port).start()
    return _url(settings.host, runner.addresses[0][1])


def _advertised(settings: Settings, address: str) -> str:
    return _url(*settings.advertise) if settings.advertise else address


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
