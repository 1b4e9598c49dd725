"""The real control plane, for the tests that run on it (`make test-cluster`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.controlplane import ControlPlane, Programs, missing_programs

_SCHEMAS = Path(__file__).parents[2] / "shared" / "schemas"
CRD_FOLDERS = [_SCHEMAS / "kubevirt-v1.9.0" / "crds-slim", _SCHEMAS / "cdi-v1.66.0" / "crds-slim"]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for all tests of a run, with the kinds of KubeVirt and CDI where their definitions are at hand."""
    if why := missing_programs():
        pytest.skip(why)
    crds = sorted(path for folder in CRD_FOLDERS if folder.is_dir() for path in folder.glob("*.yaml"))
    with ControlPlane(Programs.find(), tmp_path_factory.mktemp("control-plane"), crds=crds) as plane:
        yield plane


@pytest.fixture(scope="session")
def control_plane_with_crds(control_plane: ControlPlane) -> ControlPlane:
    """The same, for tests that cannot do without those kinds."""
    if missing := [str(folder) for folder in CRD_FOLDERS if not folder.is_dir()]:
        pytest.skip(f"the definitions of KubeVirt and CDI are not at hand: {', '.join(missing)}")
    return control_plane
