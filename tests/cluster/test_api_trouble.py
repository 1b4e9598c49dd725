"""The API server goes away in the middle of a build, and forgets what the service has seen last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_kube import Kube
from support.controlplane import Cluster, ControlPlane
from support.controlplane.proxy import proxy
from support.rest import Rest
from support.templates import Gate, Overlay

pytestmark = pytest.mark.cluster
IMAGES = "/api/v1/images"
SECONDS = 240


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A second image waits, so that all that runs is of the first."""
    return replace(settings, max_builds=1)


@contextmanager
def apiserver_gone(plane: ControlPlane, *, killed: bool = False) -> Iterator[None]:
    (plane.apiserver.kill if killed else plane.apiserver.stop)()
    try:
        yield
    finally:
        plane.apiserver.start()
        plane.wait_ready(plane.apiserver)


def three_steps(overlay: Overlay) -> Gate:
    gate = overlay.gate("gate")
    overlay.step("one", f"echo at work; read _ < {gate}").step("two").step("three")
    return gate


async def nothing_ran_twice_and_nothing_is_left(overlay: Overlay, admin: Kube) -> None:
    assert overlay.ran() == ["one", "two", "three"]
    assert len(await admin.list("Job", labels="goldenpipe.io/image=a")) == 3
    assert len(await admin.list("Pod", labels="goldenpipe.io/image=a")) == 3
    assert await admin.list("Secret", labels="goldenpipe.io/image=a,!goldenpipe.io/record") == []


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_a_build_goes_on_when_the_api_server_is_back(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane, killed: bool
) -> None:
    gate = three_steps(overlay)
    await rest.create("a")
    await rest.log_line("a", "one", "at work")
    with apiserver_gone(real, killed=killed):
        await asyncio.to_thread(gate.open)  # the step ends while nobody can tell
        status, body = await rest.call("GET", "/api/v1/health")
        assert (status, "cluster" in body["error"]) == (503, True)
        # what the service knows by itself it still tells; orders that the cluster cannot keep it does not take
        assert (await rest.get(f"{IMAGES}/a"))["status"] == "creating"
        document = {"name": "b", "os_type": "linux", "base_iso_url": "https://images.example/base.qcow2"}
        assert (await rest.call("POST", IMAGES, json=document))[0] == 503
    assert (await rest.end("a", seconds=SECONDS))["status"] == "ready"
    await nothing_ran_twice_and_nothing_is_left(overlay, admin)


@asynccontextmanager
async def service_on(settings: Settings, cluster: Cluster) -> AsyncIterator[Rest]:
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


async def test_a_build_goes_on_when_its_watches_are_too_old(
    cluster: Cluster, settings: Settings, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    gate = three_steps(overlay)
    async with proxy(real, cluster.kubeconfig) as (passing, through):
        through_it = Cluster(kubeconfig=through, admin=cluster.admin)
        async with service_on(settings, through_it) as rest:
            await rest.create("a")
            await rest.log_line("a", "one", "at work")
            await passing.hold()
            await asyncio.to_thread(gate.open)
            async with asyncio.timeout(30):
                await passing.until_held(7)
                await ended(admin, "one")
            real.compact()
            with apiserver_gone(real, killed=True):  # its memory of what happened goes too
                pass
            passing.release()
            assert (await rest.end("a", seconds=SECONDS))["status"] == "ready"
            await nothing_ran_twice_and_nothing_is_left(overlay, admin)
        assert {path.rpartition("/")[2] for path in passing.expired} >= {"jobs", "pods"}


async def ended(admin: Kube, step: str) -> None:
    async for event in admin.watch("Pod", labels=f"goldenpipe.io/step={step}"):
        if getattr(event, "object", {}).get("status", {}).get("phase") == "Succeeded":
            return
