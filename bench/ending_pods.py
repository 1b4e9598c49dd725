"""A node whose Pods end at once: it says of each what a kubelet would say (as recorded), and runs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from goldenpipe_kube import Event, Kube, Object
from goldenpipe_local.node.certificate import NodeCertificate

NODE = "bench"
"""The name of the node; the steps' template names it, so there is nothing to schedule."""
_HOST = "127.0.0.1"
_LOG = "[100%] Nothing to do\n"


class EndingPods:
    """Starts every Pod of the node and ends it with exit 0, in two writes; `on_end` is told when an end was seen."""

    def __init__(self, kube: Kube, folder: Path, on_end: Callable[[Object], None]) -> None:
        self._kube, self._folder, self._on_end = kube, folder, on_end
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        runner = web.AppRunner(self._logs(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        context = NodeCertificate.ensure(self._folder, NODE, _HOST).context()
        await web.TCPSite(runner, _HOST, 0, ssl_context=context).start()
        await self._register(int(runner.addresses[0][1]))
        watch = asyncio.create_task(self._watch())
        try:
            yield
            if watch.done():
                watch.result()
        finally:
            for task in (watch, *self._tasks):
                task.cancel()
            await asyncio.gather(watch, *self._tasks, return_exceptions=True)
            await runner.cleanup()

    async def _register(self, port: int) -> None:
        await self._kube.ensure({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        status = {
            "addresses": [{"type": "InternalIP", "address": _HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await self._kube.patch("Node", NODE, {"status": status}, subresource="status")

    def _logs(self) -> web.Application:
        async def log(_: web.Request) -> web.Response:
            return web.Response(text=_LOG)

        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", log)
        return app

    async def _watch(self) -> None:
        async for event in self._kube.watch("Pod", fields=f"spec.nodeName={NODE}"):
            if not isinstance(event, Event) or event.type == "DELETED":
                continue
            name, phase = event.object["metadata"]["name"], event.object["status"]["phase"]
            if event.type == "ADDED" and phase == "Pending":
                task = asyncio.create_task(self._run(name))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif phase == "Succeeded" and name not in self._ended:
                self._ended.add(name)
                self._on_end(event.object)

    async def _run(self, pod: str) -> None:
        started = _now()
        await self._say(pod, _status("Running", {"running": {"startedAt": started}}, started))
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": _now()}
        await self._say(pod, _status("Succeeded", {"terminated": ended}, started))

    async def _say(self, pod: str, status: Object) -> None:
        await self._kube.patch("Pod", pod, {"status": status}, subresource="status")


def _status(phase: str, state: Object, started: str) -> Object:
    """The fields and reasons that a kubelet of Kubernetes 1.36 writes."""
    ended = "terminated" in state
    reason = {"reason": "PodCompleted"} if ended else {}
    truths = {
        "PodReadyToStartContainers": ("False" if ended else "True", {}),
        "Initialized": ("True", reason),
        "Ready": ("False" if ended else "True", reason),
        "ContainersReady": ("False" if ended else "True", reason),
        "PodScheduled": ("True", {}),
    }
    return {
        "phase": phase,
        "conditions": [
            {"type": name, "status": truth, "lastTransitionTime": started, **why}
            for name, (truth, why) in truths.items()
        ],
        "hostIP": _HOST,
        "podIP": "10.88.1.80",
        "podIPs": [{"ip": "10.88.1.80"}],
        "startTime": started,
        "containerStatuses": [
            {
                "name": "step",
                "state": state,
                "lastState": {},
                "ready": not ended,
                "started": not ended,
                "restartCount": 0,
                "image": "bench/step:1",
                "imageID": "sha256:c102ccb37eb81cb8447b201f4607a01fad5c6445b8aef1264cff63673ba58e1e",
                "containerID": "containerd://6504d8d5cc87256d604c149a38b689d32483ed892616fec5ce7e6f68de8b6b8d",
            }
        ],
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
