"""Where the contract tests run: on the local API server, and on a real one if a kubeconfig for it is given.

`GOLDENPIPE_CONTRACT_KUBECONFIG=/path pytest tests/contract` runs the same tests there, each in its own namespace. A
bare kube-apiserver is enough; what needs kube-controller-manager too is skipped unless
`GOLDENPIPE_CONTRACT_CONTROLLERS=1` says that it runs.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from support.api import Api
from support.target import Target

_REAL = os.environ.get("GOLDENPIPE_CONTRACT_KUBECONFIG", "")


@pytest.fixture(params=["local", *(["real"] if _REAL else [])])
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Target]:
    async with _kubeconfig(request.param, tmp_path) as kubeconfig, Api.connect(kubeconfig) as api:
        namespace = f"contract-{uuid4().hex[:8]}"
        made = await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        assert made.status == 201, made.body
        async with await Kube.connect(kubeconfig, namespace=namespace) as kube:
            yield Target(api=api, kube=kube, namespace=namespace)
        await api.call("DELETE", f"/api/v1/namespaces/{namespace}")


@asynccontextmanager
async def _kubeconfig(name: str, folder: Path) -> AsyncIterator[Path]:
    if name == "real":
        yield Path(_REAL)
        return
    async with ApiServer(folder) as server:
        yield server.kubeconfig


@pytest.fixture
def api(target: Target) -> Api:
    return target.api


@pytest.fixture
def controllers(request: pytest.FixtureRequest) -> None:
    """For tests of what controllers do around the API."""
    real = "real" in request.node.name.rpartition("[")[2]
    if real and os.environ.get("GOLDENPIPE_CONTRACT_CONTROLLERS") != "1":
        pytest.skip("GOLDENPIPE_CONTRACT_CONTROLLERS=1 says that kube-controller-manager runs")
