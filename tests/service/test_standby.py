"""One service at a time owns the work: the second replica, as a process of its own, on both kinds of cluster."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe_kube import Kube
from support.cable import Cable
from support.controlplane import Cluster
from support.rest import Rest
from support.served import Served, kill, role_of, until_role
from support.templates import Overlay
from support.watching import until

IMAGES = "/api/v1/images"
TAKEOVER_SECONDS = 15
STOP_SECONDS = 10
"""A leader that cannot renew its Lease has stopped after this: before anybody else may take it."""


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay")


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    async with await Kube.connect(cluster.admin) as client:
        yield client


@pytest.fixture
def first(tmp_path: Path, cluster: Cluster, overlay: Overlay) -> Served:
    return Served(tmp_path / "first", overlay, kubeconfig=cluster.kubeconfig)


@pytest.fixture
def second(tmp_path: Path, cluster: Cluster, overlay: Overlay) -> Served:
    return Served(tmp_path / "second", overlay, kubeconfig=cluster.kubeconfig)


async def raw(rest: Rest, method: str, path: str, **arguments: object) -> tuple[int, bytes]:
    async with rest.session.request(method, rest.address + path, **arguments) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.read()


async def test_a_caller_of_the_second_replica_gets_the_answers_of_the_first(
    first: Served, second: Served, overlay: Overlay
) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"echo before; read _ < {gate}; echo after")
    async with first.start() as (leader, _), second.start() as (standby, _):
        assert (await role_of(leader), await role_of(standby)) == ("leader", "standby")
        async with standby.session.get(f"{standby.address}/api/v1/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "healthy"})
            assert answer.headers["X-GoldenPipe-Role"] == "standby"
        await standby.create("a", labels={"team": "lab"})
        async with standby.session.get(f"{standby.address}{IMAGES}/a/steps/one/logs?follow=true") as answer:
            assert await answer.content.readline() == b"before\n"
            for path in (
                f"{IMAGES}/a",
                f"{IMAGES}?label=team%3Dlab",
                f"{IMAGES}/b",
                f"{IMAGES}?colour=red",
                "/api/v1/vms",
            ):
                here, there = await raw(standby, "GET", path), await raw(leader, "GET", path)
                if path != f"{IMAGES}/a":  # how long it has lasted differs
                    assert here == there
                assert here[0] == there[0]
            await asyncio.to_thread(gate.open)
            assert await answer.content.readline() == b"after\n"
        assert (await standby.end("a"))["status"] == "ready"
        assert (await raw(standby, "POST", IMAGES, json={"name": "No!"}))[0] == 400
        assert (await standby.call("DELETE", f"{IMAGES}/a"))[0] == 200
        _ = [status async for status in standby.statuses("a")]
        assert (await leader.call("GET", f"{IMAGES}/a"))[0] == 404


async def test_the_sum_over_all_replicas_is_that_of_the_leader(first: Served, second: Served, overlay: Overlay) -> None:
    overlay.step("one")
    async with first.start() as (leader, _), second.start() as (standby, _):
        await leader.create("a")
        await leader.end("a")
        told = {rest: await rest.text("/metrics") for rest in (leader, standby)}
        assert "goldenpipe_leader 1.0" in told[leader]
        assert "goldenpipe_leader 0.0" in told[standby]
        assert 'goldenpipe_builds_total{os_type="linux",outcome="succeeded"}' not in told[standby]
        assert (await standby.get("/api/v1/metrics"))["total_images"] == 1


async def test_a_replica_that_is_stopped_hands_over_at_once(first: Served, second: Served, overlay: Overlay) -> None:
    overlay.step("one")
    async with first.start() as (_, process), second.start() as (standby, _):
        process.send_signal(signal.SIGTERM)
        await process.wait()
        assert await until_role(standby, "leader", seconds=TAKEOVER_SECONDS) < 3
        await standby.create("a")
        assert (await standby.end("a"))["status"] == "ready"


async def test_a_caller_is_told_to_ask_again_while_nobody_leads(
    first: Served, second: Served, overlay: Overlay
) -> None:
    overlay.step("one")
    async with first.start() as (_, process), second.start() as (standby, _):
        await kill(process)
        async with standby.session.get(f"{standby.address}{IMAGES}") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert "No service owns the work at this moment" in (await answer.json())["error"]
        assert (await standby.call("GET", "/api/v1/health"))[0] == 200
        assert await until_role(standby, "leader", seconds=TAKEOVER_SECONDS) < TAKEOVER_SECONDS
        assert (await standby.get(IMAGES))["count"] == 0


async def test_a_service_that_was_killed_leads_again_at_once(first: Served, overlay: Overlay) -> None:
    overlay.step("one")
    async with first.start() as (_, process):
        await kill(process)
    async with first.start() as (rest, _):
        assert await role_of(rest) == "leader"


async def test_a_leader_that_is_cut_off_stops_before_another_may_lead_and_comes_back(
    tmp_path: Path, cluster: Cluster, kube: Kube, overlay: Overlay
) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"echo begun; read _ < {gate}").step("two")
    async with Cable.to(cluster.kubeconfig, tmp_path / "cable") as cable:
        served = Served(tmp_path / "first", overlay, kubeconfig=tmp_path / "cable")
        async with served.start() as (rest, _):
            await rest.create("a")
            await rest.log_line("a", "one", "begun")
            cable.cut()
            await until_role(rest, "standby", seconds=STOP_SECONDS)
            # it still tells what it knows, but takes no orders
            assert (await rest.get(f"{IMAGES}/a"))["status"] == "creating"
            async with rest.session.delete(f"{rest.address}{IMAGES}/a") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            await asyncio.to_thread(gate.open)
            cable.mend()
            await until_role(rest, "leader", seconds=TAKEOVER_SECONDS)
            assert (await rest.end("a"))["status"] == "ready"
            assert overlay.ran() == ["one", "two"]
    assert (await kube.get("Lease", "goldenpipe"))["spec"].get("holderIdentity", "") == ""


async def test_a_leader_that_was_frozen_finds_that_another_leads_and_hands_on(
    first: Served, second: Served, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one")
    async with first.start() as (frozen, process), second.start() as (other, _):
        before = (await kube.get("Lease", "goldenpipe"))["spec"]["holderIdentity"]
        process.send_signal(signal.SIGSTOP)
        await until_role(other, "leader", seconds=TAKEOVER_SECONDS)
        await until(kube, "Lease", lambda lease: lease["spec"]["holderIdentity"] not in ("", before))
        process.send_signal(signal.SIGCONT)
        await until_role(frozen, "standby", seconds=STOP_SECONDS)
        await frozen.create("a")
        assert (await other.end("a"))["status"] == "ready"
        assert overlay.ran() == ["one"]


async def test_two_services_on_one_data_folder_are_refused(first: Served) -> None:
    async with first.start(), aiohttp.ClientSession():
        with pytest.raises(AssertionError, match=r"uses the data folder .*; choose another --data-dir"):
            async with first.start():
                pass
