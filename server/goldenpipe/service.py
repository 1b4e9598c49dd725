"""The service as a whole: REST at all times, and while it leads, all that works. Closes in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

from goldenpipe.api.app import make_app
from goldenpipe.api.role import Role
from goldenpipe.changes import Changes
from goldenpipe.cluster.election import Election
from goldenpipe.cluster.lease import Candidate
from goldenpipe.cluster.seen import WATCHED, Object, Seen
from goldenpipe.cluster.watcher import watch_kind
from goldenpipe.engine.engine import Engine, Parts
from goldenpipe.engine.logs import Logs
from goldenpipe.engine.objects import Objects
from goldenpipe.engine.progress import ProgressNotes
from goldenpipe.engine.screenshots import Screenshots
from goldenpipe.images import Images, ImagesParts
from goldenpipe.metrics import Metrics
from goldenpipe.settings import Settings
from goldenpipe.store import Store, own_folder
from goldenpipe.tasks import guard
from goldenpipe.templating.bundle import Bundle
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
    identity = f"{socket.gethostname()}_{uuid4()}"
    async with AsyncExitStack() as stack:
        predecessor = stack.enter_context(own_folder(settings.data_dir, identity))
        kube = await stack.enter_async_context(await Kube.connect(kubeconfig, namespace=settings.namespace))
        metrics, leading = Metrics(), Leading()
        role = Role(kube=kube, leader=lambda: leading.elsewhere)
        stack.push_async_callback(leading.close)
        address = await _listen(stack, make_app(role, metrics), settings)
        me = Candidate(identity=identity, predecessor=predecessor, address=_advertised(settings, address))
        election = Election(kube, me)
        fenced = kube.fenced(election.remaining)
        await leading.start(election, role, partial(_on_duty, settings, fenced, metrics, election.remaining))
        yield Service(address=address, kubeconfig=kubeconfig)


Duty = Callable[[int], "contextlib.AbstractAsyncContextManager[Images]"]
"""All that works, opened for the term of this number."""


class Leading:
    """The election as a task, and what this service does when it wins."""

    def __init__(self) -> None:
        self._election: Election | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def elsewhere(self) -> str | None:
        return self._election.leader if self._election else None

    async def start(self, election: Election, role: Role, duty: Duty) -> None:
        """Take part; return as soon as it is known whether this service leads, and raise what kept it from that."""
        known = asyncio.Event()

        async def work(term: int) -> None:
            async with duty(term) as images:
                role.images = images
                known.set()
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    role.images = None

        self._election = election
        first = asyncio.create_task(election.run(work, known.set), name="election")
        waiting = asyncio.create_task(known.wait())
        try:
            await asyncio.wait({first, waiting}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            first.cancel()
            raise
        finally:
            waiting.cancel()
        if first.done():
            first.result()
        self._task = guard(_outcome(first), "election")

    async def close(self) -> None:
        if self._task is not None:
            await _cancel(self._task)


@asynccontextmanager
async def _on_duty(
    settings: Settings, kube: Kube, metrics: Metrics, remaining: Callable[[], float], term: int
) -> AsyncIterator[Images]:
    """Open the parts in order; on leaving, what is being worked on may end as long as the term lasts."""
    del term
    async with AsyncExitStack() as stack:
        changes = Changes()
        store = Store(settings.data_dir / "goldenpipe.sqlite", on_change=changes.ring)
        await stack.enter_async_context(store)
        seen = Seen(runs=store.runs)
        stack.callback(changes.ring)  # those who watch find the store closed
        notes = ProgressNotes(store)
        logs = Logs(settings.data_dir / "logs", kube, notes.note)
        stack.push_async_callback(logs.close)
        screenshots = Screenshots(settings.data_dir / "screenshots", kube, seen)
        parts = Parts(
            store=store,
            kube=kube,
            seen=seen,
            objects=Objects(kube, seen, store, settings.cluster),
            logs=logs,
            screenshots=screenshots,
            metrics=metrics,
            max_builds=settings.max_builds,
        )
        engine = Engine(parts)
        stack.push_async_callback(lambda: engine.queue.close(max(0.0, remaining())))
        images = Images(
            ImagesParts(
                store=store,
                kube=kube,
                seen=seen,
                engine=engine,
                logs=logs,
                screenshots=screenshots,
                changes=changes,
                settings=settings.cluster,
                file_urls=settings.local,
                read_bundle=partial(Bundle.read, settings.templates),
            )
        )

        def on_object(obj: Object) -> None:
            if obj["kind"] == "Pod":
                logs.see(obj)
            changes.ring()

        for kind in WATCHED:
            watch = watch_kind(kube, kind, seen, on_build=engine.touch, on_object=on_object)
            stack.push_async_callback(_cancel, guard(watch, f"watch {kind}"))
        stack.push_async_callback(_cancel, guard(notes.write(), "progress"))
        stack.push_async_callback(_cancel, asyncio.create_task(engine.start(), name="engine"))
        yield images


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


async def _outcome(task: asyncio.Task[Any]) -> None:
    await task


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
