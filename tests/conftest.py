"""Clusters to build on: the local one, and by `make test-cluster` a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from goldenpipe_local.cluster import LocalCluster
from support.controlplane import (
    Cluster,
    ControlPlane,
    Programs,
    cluster_on,
    definitions,
    missing_definitions,
    missing_programs,
)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for all tests of a run, with the kinds of KubeVirt and CDI where their definitions are at hand."""
    if why := missing_programs():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("control-plane")
    with ControlPlane(Programs.find(), folder, definitions=definitions()) as plane:
        yield plane


@pytest.fixture(scope="session")
def control_plane_with_kubevirt(control_plane: ControlPlane) -> ControlPlane:
    """The same, for tests that cannot do without those kinds."""
    if why := missing_definitions():
        pytest.skip(why)
    return control_plane


@pytest.fixture(params=["local", pytest.param("real", marks=pytest.mark.cluster)])
def real(request: pytest.FixtureRequest) -> ControlPlane | None:
    """The real control plane, if that is what this run of the test is for."""
    return request.getfixturevalue("control_plane_with_kubevirt") if request.param == "real" else None


@pytest.fixture
async def cluster(real: ControlPlane | None, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A whole cluster whose node keeps its files in `data` of the test's own folder."""
    data_dir = tmp_path / "data"
    if real:
        async with cluster_on(real, data_dir) as cluster:
            yield cluster
        return
    async with LocalCluster(data_dir) as started:
        yield Cluster(kubeconfig=started.kubeconfig, admin=started.kubeconfig)
