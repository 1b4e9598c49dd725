"""Logs on their way from the node to the client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from goldenpipe_kube import Invalid, KubeError
from goldenpipe_local.api.certificates import Certificates
from support.api import Api
from support.objects import a_pod
from support.target import Target


@dataclass
class Node:
    """A kubelet that has logs, and whose followers get a line when the test says so."""

    asked: list[str] = field(default_factory=list)
    lines: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    dies: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if "broken" in request.path:
            return web.Response(status=400, text="container broken has not started")
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while (line := await self._next()) is not None:
                await response.write(line)
            if self.dies.is_set() and request.transport:
                request.transport.abort()
        finally:
            self.left.set()
        return response

    async def _next(self) -> bytes | None:
        """The next line; None at the end of the log or of the node."""
        line, death = asyncio.ensure_future(self.lines.get()), asyncio.ensure_future(self.dies.wait())
        try:
            await asyncio.wait([line, death], return_when=asyncio.FIRST_COMPLETED)
            return line.result() if line.done() else None
        finally:
            line.cancel()
            death.cancel()

    def context(self, folder: Path) -> ssl.SSLContext:
        # signed by nobody the API server knows, as a kubelet's is
        return Certificates.ensure(folder, "127.0.0.1").context()


@pytest.fixture
async def node(target: Target, tmp_path: Path) -> AsyncIterator[Node]:
    kubelet = Node()
    app = web.Application()
    app.router.add_get("/containerLogs/{path:.*}", kubelet.serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=kubelet.context(tmp_path / "kubelet")).start()
    kubelet.port = runner.addresses[0][1]
    await target.kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lab"}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    await target.kube.patch("Node", "lab", {"status": status}, subresource="status")
    pod = a_pod()
    pod["spec"]["nodeName"] = "lab"
    await target.kube.create(pod)
    yield kubelet
    await runner.cleanup()


async def test_every_line_is_passed_on_when_it_comes(target: Target, node: Node) -> None:
    async with aclosing(target.kube.logs("one", follow=True)) as log:
        for line in (b"first\n", b"second\n"):
            node.lines.put_nowait(line)
            async with asyncio.timeout(5):
                assert await anext(log) == line
        node.lines.put_nowait(None)
        assert [chunk async for chunk in log] == []


async def test_the_node_is_asked_what_the_client_asked(target: Target, node: Node, api: Api) -> None:
    node.lines.put_nowait(None)
    query = "tailLines=3&sinceSeconds=60&timestamps=true&limitBytes=100&container=step"
    await api.call("GET", f"{target.core('pods', 'one', 'log')}?{query}")
    path, _, asked = node.asked[0].partition("?")
    assert path == f"/containerLogs/{target.namespace}/one/step"
    assert set(asked.split("&")) == {"tailLines=3", "sinceSeconds=60", "timestamps=true", "limitBytes=100"}


async def test_a_client_that_goes_away_is_not_waited_for(target: Target, node: Node) -> None:
    async with aclosing(target.kube.logs("one", follow=True)) as log:
        node.lines.put_nowait(b"first\n")
        await anext(log)
    async with asyncio.timeout(5):
        await node.left.wait()


@pytest.mark.usefixtures("node")
async def test_what_the_node_refuses_is_told(target: Target) -> None:
    pod = a_pod("broken")
    pod["spec"]["nodeName"] = "lab"
    await target.kube.create(pod)
    with pytest.raises(Invalid, match="has not started"):
        await anext(target.kube.logs("broken"))


async def test_a_log_that_breaks_off_is_no_complete_log(target: Target, node: Node) -> None:
    async with aclosing(target.kube.logs("one", follow=True)) as log:
        node.lines.put_nowait(b"first\n")
        await anext(log)
        node.dies.set()
        with pytest.raises(KubeError):
            async for _ in log:
                pass


async def test_a_pod_without_a_node_has_no_log(target: Target) -> None:
    await target.kube.create(a_pod())
    with pytest.raises(Invalid, match="does not have a host assigned"):
        await anext(target.kube.logs("one"))


@pytest.mark.usefixtures("node")
async def test_a_node_that_is_away_is_named(target: Target) -> None:
    ports = {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}
    await target.kube.patch("Node", "lab", {"status": ports}, subresource="status")
    with pytest.raises(KubeError, match="the node lab does not answer"):
        await anext(target.kube.logs("one"))


@pytest.mark.usefixtures("node")
async def test_one_of_many_containers_has_to_be_named(target: Target, api: Api) -> None:
    pod = a_pod("two")
    pod["spec"]["nodeName"] = "lab"
    pod["spec"]["containers"].append({"name": "other", "image": "x"})
    await target.kube.create(pod)
    answer = await api.call("GET", target.core("pods", "two", "log"))
    assert answer.status == 400
    assert answer.body["message"] == ("a container name must be specified for pod two, choose one of: [step other]")
    answer = await api.call("GET", f"{target.core('pods', 'two', 'log')}?container=none")
    assert answer.body["message"] == "container none is not valid for pod two"
