"""Where the contract tests run: on the local API server, and by `make test-cluster` on a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from support.api import Api
from support.controlplane import ControlPlane
from support.target import Target


@pytest.fixture(params=["local", pytest.param("real", marks=pytest.mark.cluster)])
def real(request: pytest.FixtureRequest) -> ControlPlane | None:
    """The real control plane, if that is what is tested."""
    return request.getfixturevalue("control_plane") if request.param == "real" else None


@pytest.fixture
async def target(real: ControlPlane | None, tmp_path: Path) -> AsyncIterator[Target]:
    async with _kubeconfig(real, tmp_path) as kubeconfig, Api.connect(kubeconfig) as api:
        namespace = f"contract-{uuid4().hex[:8]}"
        made = await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        assert made.status == 201, made.body
        async with await Kube.connect(kubeconfig, namespace=namespace) as kube:
            yield Target(api=api, kube=kube, namespace=namespace)
        await api.call("DELETE", f"/api/v1/namespaces/{namespace}")


@asynccontextmanager
async def _kubeconfig(real: ControlPlane | None, folder: Path) -> AsyncIterator[Path]:
    if real:
        yield real.kubeconfig
        return
    async with ApiServer(folder) as server:
        yield server.kubeconfig


@pytest.fixture
def api(target: Target) -> Api:
    return target.api
