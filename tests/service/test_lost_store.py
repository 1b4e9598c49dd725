"""The store is lost, in every state of a build: the next service makes it again from what the cluster keeps."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from goldenpipe_kube import Kube, Object
from support.controlplane import Cluster
from support.rest import Rest
from support.served import Served, kill, until_role
from support.templates import Gate, Overlay
from support.watching import until, until_gone

IMAGES = "/api/v1/images"
TAKEOVER_SECONDS = 15
HOLD = "goldenpipe.test/hold"
EVERYTHING = ("Job", "Pod", "Secret", "ConfigMap", "DataVolume", "PersistentVolumeClaim", "VirtualMachine")
DONE = r"""printf 'All is well\n{"facts": {"size_bytes": 1048576}}' > $GOLDENPIPE_TERMINATION_LOG"""
FAILED = r"""printf 'no such package\n{"hint": "use another"}' > $GOLDENPIPE_TERMINATION_LOG; exit 20"""


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay")


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    async with await Kube.connect(cluster.admin) as client:
        yield client


@pytest.fixture
def served(tmp_path: Path, cluster: Cluster, overlay: Overlay) -> Served:
    return Served(tmp_path / "service", overlay, kubeconfig=cluster.kubeconfig)


@pytest.fixture
def other(tmp_path: Path, cluster: Cluster, overlay: Overlay) -> Served:
    return Served(tmp_path / "other", overlay, kubeconfig=cluster.kubeconfig)


@asynccontextmanager
async def started_anew(served: Served, process: asyncio.subprocess.Process) -> AsyncIterator[Rest]:
    """After `kill -9`, on a folder that holds nothing but who owned it: so nobody waits for the Lease."""
    await kill(process)
    for path in served.data_dir.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "owner":
            path.unlink()
    async with served.start() as (rest, _):
        yield rest


async def told_of(rest: Rest, *names: str) -> list[Object]:
    """All that REST says of these images, but for what goes on with time."""
    told = [await rest.get(IMAGES)]
    for name in names:
        told += [await rest.get(f"{IMAGES}/{name}"), await rest.get(f"{IMAGES}/{name}/status")]
    for document in told:
        for part in (document, *document.get("images", ()), *document.get("steps", ())):
            for key in ("updated_at", "duration_seconds"):
                part.pop(key, None)
    return told


async def step_begins(rest: Rest, image: str, step: str) -> None:
    """Return when the step has printed its first line."""
    async with rest.session.get(f"{rest.address}{IMAGES}/{image}/steps/{step}/logs?follow=true") as answer:
        assert await answer.content.readline()


async def word(rest: Rest, image: str, state: str) -> None:
    """Return when the message of the image begins like this."""
    async for status in rest.statuses(image):
        if status["message"].startswith(state):
            return
    raise AssertionError(state)


async def ran_once(kube: Kube, overlay: Overlay, *steps: str) -> None:
    assert overlay.ran() == list(steps)
    for kind in ("Job", "Pod"):
        assert len(await kube.list(kind, labels="goldenpipe.io/image=a")) == len(steps), kind


def waiting(overlay: Overlay, name: str, then: str = "true", **head: Any) -> Gate:
    gate = overlay.gate(f"gate-{name}")
    overlay.step(name, f"echo begun; read _ < {gate}; {then}", **head)
    return gate


def held(overlay: Overlay) -> list[str]:
    """A manifest whose object stays after its deletion until somebody lets it go."""
    metadata = {"name": "{{ build.id }}-held", "labels": "{{ build.labels }}", "finalizers": [HOLD]}
    (overlay.templates / "manifests").mkdir()
    overlay.write("manifests/held.yaml", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    return ["held.yaml"]


async def let_go(kube: Kube) -> None:
    (found,) = [obj for obj in await kube.list("Secret") if obj["metadata"]["name"].endswith("-held")]
    await kube.patch("Secret", found["metadata"]["name"], {"metadata": {"finalizers": None}})


async def test_a_build_in_mid_step_goes_on_and_no_step_runs_twice(served: Served, overlay: Overlay, kube: Kube) -> None:
    overlay.step("one", f"echo one says hello; {DONE}")
    gate = waiting(overlay, "two", DONE)
    overlay.step("three")
    async with served.start() as (rest, process):
        request = {
            "labels": {"team": "lab"},
            "customizations": {"packages": ["nginx"], "scripts": ["#!/bin/sh\ntrue\n"]},
        }
        await rest.create("a", **request)
        await step_begins(rest, "a", "two")
        before = await told_of(rest, "a")
        async with started_anew(served, process) as again:
            assert await told_of(again, "a") == before
            await asyncio.to_thread(gate.open)
            status = await again.end("a")
            assert (status["status"], status["steps"][0]["message"]) == ("ready", "All is well")
            assert "one says hello" in await again.text(f"{IMAGES}/a/steps/one/logs")
            await ran_once(kube, overlay, "one", "two", "three")
            assert (await again.get(f"{IMAGES}?label=team%3Dlab"))["images"][0]["size"] == "1.0Mi"


async def test_the_newest_job_tells_the_state_when_older_ones_are_gone(
    tmp_path: Path, cluster: Cluster, overlay: Overlay, kube: Kube
) -> None:
    (tmp_path / "settings.yaml").write_text("job_ttl_seconds: 1\n")
    options = ("--settings", str(tmp_path / "settings.yaml"))
    served = Served(tmp_path / "service", overlay, *options, kubeconfig=cluster.kubeconfig)
    overlay.step("one", DONE)
    gate = waiting(overlay, "two")
    async with served.start() as (rest, process):
        await rest.create("a")
        first = await until(kube, "Job", lambda job: job["metadata"]["labels"]["goldenpipe.io/step"] == "one")
        await step_begins(rest, "a", "two")
        await until_gone(kube, "Job", first["metadata"]["name"], seconds=60)
        before = await told_of(rest, "a")
        async with started_anew(served, process) as again:
            assert await told_of(again, "a") == before
            await asyncio.to_thread(gate.open)
            assert (await again.end("a"))["status"] == "ready"
            assert overlay.ran() == ["one", "two"]


async def test_a_step_whose_job_is_gone_by_its_time_is_not_run_again(
    tmp_path: Path, cluster: Cluster, overlay: Overlay, kube: Kube
) -> None:
    (tmp_path / "settings.yaml").write_text("job_ttl_seconds: 1\n")
    options = ("--settings", str(tmp_path / "settings.yaml"))
    served = Served(tmp_path / "service", overlay, *options, kubeconfig=cluster.kubeconfig)
    gate = waiting(overlay, "one")
    overlay.step("two")
    async with served.start() as (rest, process):
        await rest.create("a")
        await step_begins(rest, "a", "one")
        job = await until(kube, "Job", lambda _: True)
        await kill(process)
        await asyncio.to_thread(gate.open)
        await until_gone(kube, "Job", job["metadata"]["name"], seconds=60)
        async with started_anew(served, process) as again:
            status = await again.end("a")
            assert status["status"] == "failed"
            assert "lost its store" in status["error"]["message"]
            assert overlay.ran() == ["one"]


async def test_builds_that_wait_for_a_slot_still_do(served: Served, overlay: Overlay, kube: Kube) -> None:
    gates = {name: overlay.gate(f"gate-{name}") for name in "abc"}
    overlay.step("one", f"echo begun; read _ < {overlay.folder}/gate-{{{{ image.name }}}}")
    async with served.start() as (rest, process):
        for name in "abc":
            await rest.create(name)
        await step_begins(rest, "b", "one")
        before = await told_of(rest, *"abc")
        async with started_anew(served, process) as again:
            assert await told_of(again, *"abc") == before
            for gate in gates.values():
                await asyncio.to_thread(gate.open)
            assert [(await again.end(name))["status"] for name in "abc"] == ["ready"] * 3
            assert len(overlay.ran()) == len(await kube.list("Job")) == 3


@pytest.mark.parametrize(
    ("script", "cleaning", "end"),
    [(DONE, "Removing the build VM", "ready"), (FAILED, "Cleaning up after a failure", "failed")],
)
async def test_cleaning_up_goes_on(
    served: Served, overlay: Overlay, kube: Kube, script: str, cleaning: str, end: str
) -> None:
    overlay.step("one", script, manifests=held(overlay))
    async with served.start() as (rest, process):
        await rest.create("a")
        await word(rest, "a", cleaning)
        await until(kube, "Secret", lambda found: bool(found["metadata"].get("deletionTimestamp")))
        before = await told_of(rest, "a")
        async with started_anew(served, process) as again:
            assert await told_of(again, "a") == before
            await let_go(kube)
            assert (await again.end("a"))["status"] == end
            await ran_once(kube, overlay, "one")
            assert await kube.list("Secret", labels="goldenpipe.io/image=a,!goldenpipe.io/record") == []


@pytest.mark.parametrize(("script", "end"), [(DONE, "ready"), (FAILED, "failed")])
async def test_an_image_that_has_ended_is_told_as_before_and_can_be_deleted(
    served: Served, overlay: Overlay, kube: Kube, script: str, end: str
) -> None:
    overlay.step("one", f"echo first words; {script}")
    async with served.start() as (rest, process):
        await rest.create("a", labels={"team": "lab"})
        assert (await rest.end("a"))["status"] == end
        before = await told_of(rest, "a")
        async with started_anew(served, process) as again:
            assert await told_of(again, "a") == before
            assert "first words" in await again.text(f"{IMAGES}/a/steps/one/logs?follow=true")
            await ran_once(kube, overlay, "one")
            await gone(again, kube)


async def gone(rest: Rest, kube: Kube) -> None:
    await rest.call("DELETE", f"{IMAGES}/a")
    _ = [status async for status in rest.statuses("a")]
    assert (await rest.call("GET", f"{IMAGES}/a"))[0] == 404
    for kind in EVERYTHING:
        assert await kube.list(kind, labels="goldenpipe.io/image=a") == [], kind


async def test_a_deletion_goes_on(served: Served, overlay: Overlay, kube: Kube) -> None:
    overlay.step("one", manifests=held(overlay))
    waiting(overlay, "two")
    async with served.start() as (rest, process):
        await rest.create("a")
        await step_begins(rest, "a", "two")
        await rest.call("DELETE", f"{IMAGES}/a")
        await until(kube, "Secret", lambda found: bool(found["metadata"].get("deletionTimestamp")))
        async with started_anew(served, process) as again:
            assert (await again.get(f"{IMAGES}/a"))["status"] == "deleting"
            await let_go(kube)
            await gone(again, kube)
            assert overlay.ran() == ["one", "two"]


async def test_a_build_that_no_caller_was_told_of_leaves_nothing(served: Served, overlay: Overlay, kube: Kube) -> None:
    overlay.step("one")
    async with served.start() as (rest, process):
        await rest.create("a")
        await rest.end("a")
        (index,) = await kube.list("ConfigMap", labels="goldenpipe.io/record")
        # as a `kill -9` between the two objects of a record leaves it
        data = {**index["data"], "state": "queued", "history": None, "build": "b-00000", "image": "b"}
        index["data"] = {key: value for key, value in data.items() if value}
        index["metadata"] = {"name": "b-00000-record", "labels": index["metadata"]["labels"]}
        await kube.create(index)
        async with started_anew(served, process) as again:
            assert [image["name"] for image in (await again.get(IMAGES))["images"]] == ["a"]
            assert await kube.find("ConfigMap", "b-00000-record") is None


async def test_the_second_replica_takes_a_build_over_within_15_seconds_of_a_kill_9(
    served: Served, other: Served, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one")
    gate = waiting(overlay, "two")
    overlay.step("three")
    async with served.start() as (leader, process), other.start() as (standby, _):
        await leader.create("a")
        await step_begins(leader, "a", "two")
        before = await told_of(leader, "a")
        await kill(process)
        assert await until_role(standby, "leader", seconds=60) < TAKEOVER_SECONDS
        assert await told_of(standby, "a") == before
        await asyncio.to_thread(gate.open)
        assert (await standby.end("a"))["status"] == "ready"
        await ran_once(kube, overlay, "one", "two", "three")
        async with served.start() as (again, _):
            assert (await again.get(f"{IMAGES}/a"))["status"] == "ready"


async def test_a_leader_that_was_frozen_in_mid_build_does_nothing_twice(
    served: Served, other: Served, overlay: Overlay, kube: Kube
) -> None:
    gate = waiting(overlay, "one")
    overlay.step("two").step("three")
    async with served.start() as (frozen, process), other.start() as (standby, _):
        await frozen.create("a")
        await step_begins(frozen, "a", "one")
        process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(gate.open)
        await until_role(standby, "leader", seconds=TAKEOVER_SECONDS)
        assert (await standby.end("a"))["status"] == "ready"
        process.send_signal(signal.SIGCONT)
        await until_role(frozen, "standby", seconds=10)
        assert (await frozen.get(f"{IMAGES}/a"))["status"] == "ready"
        await ran_once(kube, overlay, "one", "two", "three")


async def test_a_store_that_another_has_led_since_is_not_believed(
    served: Served, other: Served, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one")
    async with served.start() as (rest, _):
        await rest.create("a")
        await rest.end("a")
    async with other.start() as (rest, _):
        await gone(rest, kube)
        await rest.create("b")
        await rest.end("b")
    async with served.start() as (rest, _):
        assert [image["name"] for image in (await rest.get(IMAGES))["images"]] == ["b"]
        assert (served.data_dir / "goldenpipe.sqlite.stale").exists()
    async with served.start() as (rest, _):
        assert [image["name"] for image in (await rest.get(IMAGES))["images"]] == ["b"]
        assert "restored" not in served.log.rpartition("leading, in term")[2]


def noise(size: int) -> str:
    """Text that cannot be packed to less than three quarters."""
    return "".join(random.Random(1).choices(string.ascii_letters + string.digits + "+/", k=size))


@pytest.mark.parametrize(
    ("script", "file", "path"), [(1_000_000, 400_000, "templates"), (400_000, 990_000, "customizations")]
)
async def test_a_build_too_large_to_be_recorded_is_refused_and_told_why(
    served: Served, overlay: Overlay, kube: Kube, script: int, file: int, path: str
) -> None:
    overlay.step("one")
    (overlay.templates / "scripts").mkdir()
    (overlay.templates / "scripts" / "large.sh").write_text(f"#!/bin/sh\n# {noise(script)}\n")
    document = {"name": "a", "os_type": "linux", "base_iso_url": "https://images.example/base.qcow2"}
    document |= {"customizations": {"files": {"/etc/large": noise(file)}}}  # type: ignore[dict-item]
    async with served.start() as (rest, _):
        status, body = await rest.call("POST", IMAGES, json=document)
        assert (status, [fault["path"] for fault in body["details"]]) == (400, [path])
        assert "the record of the build would take" in body["error"]
        assert (await rest.get(IMAGES))["count"] == 0
        assert await kube.list("ConfigMap", labels="goldenpipe.io/record") == []
