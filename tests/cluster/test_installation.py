"""A real API server takes the whole installation, with the strictest validation there is, and grants its Roles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from support.controlplane import ControlPlane, Programs, objects_of
from support.markdown import ROOT

pytestmark = pytest.mark.cluster
_WARNING = "Warning:"


def kubectl(plane: ControlPlane, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Programs.find().kubectl), f"--kubeconfig={plane.kubeconfig}", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("folder", ["manifests", "manifests/overlays/ingress", "manifests/overlays/standby"])
def test_the_installation_is_accepted_whole(control_plane: ControlPlane, folder: str) -> None:
    path = str(ROOT / folder)
    done = kubectl(control_plane, "apply", "--dry-run=server", "--validate=strict", "-k", path)
    assert done.returncode == 0, done.stderr
    assert _WARNING not in done.stderr.replace("Warning: resource namespaces/goldenpipe-system", "")
    assert "deployment.apps/goldenpipe created (server dry run)" in done.stdout


def test_a_field_that_does_not_exist_is_refused(control_plane: ControlPlane, tmp_path: Path) -> None:
    (deployment,) = [obj for obj in objects_of() if obj["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["colour"] = "red"
    path = tmp_path / "deployment.yaml"
    path.write_text(yaml.safe_dump(deployment))
    done = kubectl(control_plane, "apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    assert done.returncode != 0
    assert 'unknown field "spec.template.spec.colour"' in done.stderr
