"""Pods and an agent that is stopped and started again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from goldenpipe_kube import Kube
from goldenpipe_local.node import NodeAgent
from support.pods import a_pod, ended, in_phase, log_of, sh, terminated
from support.watching import until

StartAgent = Callable[[], AbstractAsyncContextManager[NodeAgent]]


async def test_a_container_outlives_the_agent_and_its_end_is_not_missed(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    os.mkfifo(gate)
    async with start_agent():
        await kube.create(sh(f"echo run >> {runs}; cat {gate}; exit 7"))
        await until(kube, "Pod", in_phase("Running"), name="step")
    await asyncio.to_thread(gate.write_text, "on\n")
    async with start_agent():
        pod = await ended(kube)
        assert await log_of(kube) == "on\n"
    assert terminated(pod)["exitCode"] == 7
    assert runs.read_text() == "run\n"


async def test_folders_of_pods_that_went_away_while_the_agent_was_down_are_removed(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    async with start_agent():
        await kube.create(a_pod("true"))
        await ended(kube)
    await kube.delete("Pod", "step", grace_seconds=0)
    async with start_agent():
        assert list((tmp_path / "cluster" / "pods").iterdir()) == []
