"""A node agent on the local API server, with a data folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from goldenpipe_local.node import NodeAgent

StartAgent = Callable[[], AbstractAsyncContextManager[NodeAgent]]


@pytest.fixture
def start_agent(local_api: ApiServer, tmp_path: Path) -> StartAgent:
    """Starts an agent; ending its context is what a killed agent looks like to all that it has started."""

    @asynccontextmanager
    async def start() -> AsyncIterator[NodeAgent]:
        async with (
            await Kube.connect(local_api.kubeconfig_of("node")) as connection,
            NodeAgent(connection, tmp_path, step_kubeconfig=local_api.kubeconfig_of("step")) as agent,
        ):
            yield agent

    return start


@pytest.fixture
async def agent(start_agent: StartAgent) -> AsyncIterator[NodeAgent]:
    async with start_agent() as running:
        yield running
