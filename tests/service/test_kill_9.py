"""`kill -9` of the service right after every single write to its store or its cluster, then a normal start."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.settings import Settings
from goldenpipe_kube import Kube
from support.controlplane import Cluster, ControlPlane
from support.dying import Mortal, mortal
from support.guests import HANG, boot_disk
from support.rest import Rest
from support.templates import Overlay

IMAGES = "/api/v1/images"
GONE = (aiohttp.ClientError, ConnectionError)
"""What a caller sees of a service that dies."""
STRIDE = 3
"""On a real control plane a build takes seconds: every third write is enough there, and where the store is lost."""


LOST = pytest.mark.parametrize("lost", [False, True], ids=["", "and its store is lost"])


@dataclass(frozen=True, kw_only=True)
class Lives:
    """Services on one data folder and one cluster, one after the other."""

    settings: Settings
    cluster: Cluster
    kube: Kube
    overlay: Overlay
    disk: Path

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[tuple[Rest, Mortal]]:
        async with mortal(self.settings, self.cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
            yield Rest(service.address, session), service

    async def create(self, rest: Rest, name: str) -> None:
        """As a caller does who does not know whether the request arrived."""
        if (await rest.call("GET", f"{IMAGES}/{name}"))[0] == 404:
            await rest.create(name, base_iso_url=self.disk.as_uri(), storage_size="1Mi")

    def lose_store(self) -> None:
        for path in self.settings.data_dir.glob("goldenpipe.sqlite*"):
            path.unlink()
        shutil.rmtree(self.settings.data_dir / "logs", ignore_errors=True)

    async def left(self, name: str) -> set[str]:
        kinds = ("Job", "Pod", "Secret", "DataVolume", "PersistentVolumeClaim", "VirtualMachine", "DataSource")
        labels = f"goldenpipe.io/image={name}"
        found = {kind: await self.kube.list(kind, labels=f"{labels},!goldenpipe.io/record") for kind in kinds}
        found["record"] = await self.kube.list("Secret", labels=f"{labels},goldenpipe.io/record")
        found["record"] += await self.kube.list("ConfigMap", labels=labels)
        return {kind for kind, objects in found.items() if objects}


@pytest.fixture
async def lives(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Lives]:
    overlay = Overlay(tmp_path / "overlay")
    settings = Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,))
    async with await Kube.connect(cluster.admin) as kube:
        disk = boot_disk(tmp_path, "", HANG)
        yield Lives(settings=settings, cluster=cluster, kube=kube, overlay=overlay, disk=disk)


Act = Callable[[Rest, str], Awaitable[object]]


async def die_at_every_write(
    lives: Lives, real: ControlPlane | None, lost: bool, *, prepare: Act | None = None, act: Act, check: Act
) -> set[str]:
    """Let the service die after each write that `act` leads to, and `act` be done again by one that lives.

    With `lost` its store and its logs are gone with it. Returns what was written last before each death.
    """
    deaths: set[str] = set()
    for number in count(0, STRIDE if real or lost else 1):
        name = f"image-{number}"
        lives.overlay.runs.unlink(missing_ok=True)
        async with lives.serve() as (rest, service):
            if prepare:
                await prepare(rest, name)
            service.die_after(number)
            with contextlib.suppress(*GONE):
                await act(rest, name)
            if not service.is_dead() and await alive(rest):
                await check(rest, name)
                return deaths
            await service.death()
            deaths.add(service.last_write)
        if lost:
            lives.lose_store()
        async with lives.serve() as (rest, _):
            await act(rest, name)
            await check(rest, name)
    raise AssertionError


async def alive(rest: Rest) -> bool:
    with contextlib.suppress(*GONE):
        return (await rest.call("GET", "/api/v1/health"))[0] == 200
    return False


def two_steps(overlay: Overlay, second: str = "true") -> None:
    manifests = ["ssh-keys.yaml", "disk.yaml"]
    overlay.step("one", "echo '[ 50%] Half of it'", needs_vm=True, manifests=manifests).step("two", second)


@LOST
async def test_a_build_succeeds_after_kill_9_at_any_write_and_no_step_runs_twice(
    lives: Lives, real: ControlPlane | None, lost: bool
) -> None:
    two_steps(lives.overlay)

    async def build(rest: Rest, name: str) -> None:
        await lives.create(rest, name)
        await rest.end(name)

    async def check(rest: Rest, name: str) -> None:
        status = await rest.get(f"{IMAGES}/{name}/status")
        assert status["status"] == "ready", status
        assert lives.overlay.ran() == ["one", "two"]
        assert await lives.left(name) == {"Job", "Pod", "DataVolume", "PersistentVolumeClaim", "record"}
        assert len(await lives.kube.list("Job", labels=f"goldenpipe.io/image={name}")) == 2

    deaths = await die_at_every_write(lives, real, lost, act=build, check=check)
    if not real and not lost:
        stored = {"create", "admit", "start_step", "note_object", "note_job", "complete_step", "enter", "end"}
        assert stored | {"POST configmaps", "PATCH configmaps", "note_recorded"} <= deaths
        assert {"POST jobs", "POST secrets", "POST datavolumes", "DELETE secrets"} <= deaths


@LOST
async def test_a_build_fails_with_its_reason_after_kill_9_at_any_write_and_leaves_nothing(
    lives: Lives, real: ControlPlane | None, lost: bool
) -> None:
    two_steps(lives.overlay, "echo 'no such package' > $GOLDENPIPE_TERMINATION_LOG; exit 20")

    async def build(rest: Rest, name: str) -> None:
        await lives.create(rest, name)
        await rest.end(name)

    async def check(rest: Rest, name: str) -> None:
        status = await rest.get(f"{IMAGES}/{name}/status")
        assert status["status"] == "failed", status
        assert (status["error"]["step"], status["error"]["message"]) == ("two", "no such package")
        assert lives.overlay.ran() == ["one", "two"]
        assert await lives.left(name) == {"Job", "Pod", "record"}

    deaths = await die_at_every_write(lives, real, lost, act=build, check=check)
    if not real and not lost:
        assert {"fail", "end", "DELETE secrets", "DELETE datavolumes"} <= deaths


@LOST
async def test_an_image_is_deleted_whole_after_kill_9_at_any_write_of_its_deletion(
    lives: Lives, real: ControlPlane | None, lost: bool
) -> None:
    two_steps(lives.overlay, "echo at work; exec sleep 600")

    async def at_work(rest: Rest, name: str) -> None:
        await lives.create(rest, name)
        await rest.log_line(name, "two", "at work")

    async def delete(rest: Rest, name: str) -> None:
        if (await rest.call("DELETE", f"{IMAGES}/{name}"))[0] == 200:
            _ = [status async for status in rest.statuses(name)]

    async def check(rest: Rest, name: str) -> None:
        assert (await rest.call("GET", f"{IMAGES}/{name}"))[0] == 404
        assert await lives.left(name) == set()
        assert not list((lives.settings.data_dir / "logs").rglob("*.log*"))

    deaths = await die_at_every_write(lives, real, lost, prepare=at_work, act=delete, check=check)
    if not real and not lost:
        assert {"mark_absent", "forget", "DELETE jobs", "DELETE secrets", "DELETE datavolumes"} <= deaths
