"""`kill -9` of the service, with its local cluster, at every moment of a build."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from goldenpipe_kube import Kube
from support.rest import Rest
from support.served import Served, kill
from support.templates import Overlay

STEPS = ("one", "two", "three")


async def changes_then_kill(rest: Rest, process: asyncio.subprocess.Process, count: int) -> None:
    """Let the build change this often, then kill the service."""
    seen = 0
    try:
        async for _ in rest.statuses("a"):
            seen += 1
            if seen > count:
                break
    finally:
        await kill(process)


@pytest.mark.parametrize("moment", [0, 2, 5])
async def test_a_build_goes_on_after_kill_9_and_no_step_runs_twice(tmp_path: Path, moment: int) -> None:
    overlay = Overlay(tmp_path / "overlay")
    for name in STEPS:
        overlay.step(name, "sleep 0.2")
    served = Served(tmp_path / "data", overlay)
    async with served.start() as (rest, process):
        await rest.create("a")
        await changes_then_kill(rest, process, moment)
    async with served.start() as (rest, _):
        status = await rest.end("a")
        assert status["status"] == "ready", status
        assert overlay.ran() == list(STEPS)
        for name in STEPS:
            assert (await rest.call("GET", "/api/v1/images/a"))[0] == 200
            await rest.text(f"/api/v1/images/a/steps/{name}/logs")
        async with await Kube.connect(tmp_path / "data/cluster/kubeconfig") as kube:
            assert await kube.list("Secret", labels="goldenpipe.io/image=a,!goldenpipe.io/record") == []
            assert len(await kube.list("Pod", labels="goldenpipe.io/image=a")) == len(STEPS)


async def test_a_log_is_whole_although_the_service_was_killed_in_its_middle(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path / "overlay")
    gate = overlay.gate("gate")
    overlay.step("one", f"echo before; read _ < {gate}; echo after")
    served = Served(tmp_path / "data", overlay)
    async with served.start() as (rest, process):
        await rest.create("a")
        async with rest.session.get(f"{rest.address}/api/v1/images/a/steps/one/logs?follow=true") as answer:
            assert await answer.content.readline() == b"before\n"
        await kill(process)
    await asyncio.to_thread(gate.open)
    async with served.start() as (rest, _):
        assert (await rest.end("a"))["status"] == "ready"
        text = ""
        async with rest.session.get(f"{rest.address}/api/v1/images/a/steps/one/logs?follow=true") as answer:
            text = await answer.text()
        assert text == "before\nafter\n"


async def test_a_deletion_goes_on_after_kill_9(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path / "overlay")
    pid = tmp_path / "pid"
    overlay.step("one", f"echo $$$$ > {pid}; echo started; trap '' TERM; read _ < {overlay.gate('never')}")
    served = Served(tmp_path / "data", overlay)
    async with served.start() as (rest, process):
        await rest.create("a")
        async with rest.session.get(f"{rest.address}/api/v1/images/a/steps/one/logs?follow=true") as answer:
            assert await answer.content.readline() == b"started\n"
        await rest.call("DELETE", "/api/v1/images/a")
        await kill(process)
    async with served.start() as (rest, _):
        _ = [status async for status in rest.statuses("a")]
        assert (await rest.call("GET", "/api/v1/images/a"))[0] == 404
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_two_services_on_one_data_folder_are_refused_with_the_others_pid(tmp_path: Path) -> None:
    served = Served(tmp_path / "data", Overlay(tmp_path / "overlay"))
    async with served.start() as (_, first):
        arguments = [sys.executable, "-m", "goldenpipe", *served.arguments]
        second = await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, words = await second.communicate()
        assert second.returncode != 0
        assert str(first.pid) in words.decode()
        assert "Traceback" not in words.decode()
