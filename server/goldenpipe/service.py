"""The service as a whole: opens the parts in order, runs until it is told to stop, closes them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

from goldenpipe.api.app import make_app
from goldenpipe.changes import Changes
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
from goldenpipe.store import Store
from goldenpipe.tasks import guard
from goldenpipe.templating.bundle import Bundle
from goldenpipe_kube import Kube

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service."""

    address: str
    kubeconfig: Path | None


@asynccontextmanager
async def running(settings: Settings, *, kubeconfig: Path | None) -> AsyncIterator[Service]:
    """Serve REST against the cluster of this kubeconfig (None: the Pod's own) until the block is left."""
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(await Kube.connect(kubeconfig, namespace=settings.namespace))
        changes, metrics = Changes(), Metrics()
        store = Store(settings.data_dir / "goldenpipe.sqlite", on_change=changes.ring)
        await stack.enter_async_context(store)
        seen = Seen(runs=store.runs)
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
        stack.push_async_callback(engine.queue.close)
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
        address = await _listen(stack, make_app(images, metrics), settings)
        yield Service(address=address, kubeconfig=kubeconfig)


async def _listen(stack: AsyncExitStack, app: web.Application, settings: Settings) -> str:
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, settings.host, settings.port).start()
    port = runner.addresses[0][1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
