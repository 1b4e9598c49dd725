"""The real control plane, for the tests that run on it (`make test-cluster`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.controlplane import ControlPlane, Programs, definitions, missing_definitions, missing_programs


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
