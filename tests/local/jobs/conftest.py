"""A Job controller on the local API server, and a kubelet played by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from goldenpipe_local.jobs import JobController
from support.kubelet import BACKOFF, Kubelet


@pytest.fixture
async def controller(local_api: ApiServer) -> AsyncIterator[JobController]:
    async with (
        await Kube.connect(local_api.kubeconfig_of("jobs")) as connection,
        JobController(connection, backoff=BACKOFF) as running,
    ):
        yield running


@pytest.fixture
async def kubelet(kube: Kube) -> Kubelet:
    played = Kubelet(kube=kube)
    await played.ready()
    return played
