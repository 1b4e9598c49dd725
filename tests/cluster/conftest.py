"""The service on a real control plane, with the token of its own service account and shell commands as steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_kube import Kube
from support.controlplane import Cluster, ControlPlane, cluster_on
from support.rest import Rest
from support.templates import Overlay


@pytest.fixture
def real(control_plane_with_kubevirt: ControlPlane) -> ControlPlane:
    """Nothing here runs on the local cluster."""
    return control_plane_with_kubevirt


@pytest.fixture
async def cluster(real: ControlPlane, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_on(real, tmp_path / "data") as cluster:
        yield cluster


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay")


@pytest.fixture
def settings(tmp_path: Path, overlay: Overlay) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,))


@pytest.fixture
async def rest(cluster: Cluster, settings: Settings) -> AsyncIterator[Rest]:
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Kube]:
    """For the test's own looking."""
    async with await Kube.connect(cluster.admin) as client:
        yield client
