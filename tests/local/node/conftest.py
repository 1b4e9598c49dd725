"""A node agent on the local API server, with a data folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from goldenpipe_local.node import NodeAgent
from goldenpipe_local.node.pods.container import Container
from goldenpipe_local.node.vms.machine import Machine

StartAgent = Callable[[], AbstractAsyncContextManager[NodeAgent]]


@pytest.fixture
def left_running(tmp_path: Path) -> Iterator[None]:
    """Ends the processes that outlive the agent, as they should, but not the test."""
    yield
    for folder in (tmp_path / "cluster" / "vms").glob("*"):
        Machine.kill_leftover(folder)
    for folder in (tmp_path / "cluster" / "pods").glob("*"):
        Container(folder / "container").clean_up()


@pytest.fixture
def start_agent(local_api: ApiServer, tmp_path: Path, left_running: None) -> StartAgent:  # noqa: ARG001
    """Starts an agent; ending its context is what a killed agent looks like to all that it has started."""

    @asynccontextmanager
    async def start() -> AsyncIterator[NodeAgent]:
        async with (
            await Kube.connect(local_api.kubeconfig_of("node")) as connection,
            NodeAgent(connection, tmp_path, step_kubeconfig=local_api.kubeconfig_of_account) as agent,
        ):
            yield agent

    return start


@pytest.fixture
async def agent(start_agent: StartAgent) -> AsyncIterator[NodeAgent]:
    async with start_agent() as running:
        yield running
