"""A real API server takes every object that the built-in templates make, with the strictest validation there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from goldenpipe.settings import ClusterSettings
from goldenpipe_kube import KINDS
from support.controlplane import KUBEVIRT_BEFORE, ControlPlane, Programs, definitions
from support.samples import sample_objects

pytestmark = pytest.mark.cluster
EVERYTHING = ClusterSettings(
    storage_class="fast",
    access_mode="ReadWriteMany",
    preference="debian",
    instancetype="u1.medium",
    immediate_binding=False,
    network="networks/images",
    windows_drivers="quay.io/kubevirt/virtio-container-disk:v1.9.0",
    windows_preference="windows.2k22.virtio",
    windows_tpm=True,
    node_selector={"kubernetes.io/arch": "amd64"},
    tolerations=[{"key": "images", "operator": "Exists", "effect": "NoSchedule"}],
)


@pytest.fixture(scope="module")
def plane_before(
    control_plane_with_kubevirt: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """With the kinds of the KubeVirt release before; both cannot be in one control plane."""
    del control_plane_with_kubevirt  # for its reasons to skip
    folder = tmp_path_factory.mktemp("control-plane-before")
    with ControlPlane(Programs.find(), folder, definitions=definitions(KUBEVIRT_BEFORE)) as plane:
        yield plane


@pytest.mark.parametrize("settings", [ClusterSettings(), EVERYTHING], ids=["defaults", "everything set"])
@pytest.mark.parametrize("plane", ["control_plane_with_kubevirt", "plane_before"])
def test_every_object_of_every_template_is_accepted(
    request: pytest.FixtureRequest, plane: str, settings: ClusterSettings
) -> None:
    server: ControlPlane = request.getfixturevalue(plane)
    kinds = set()
    for path, obj in sample_objects(settings):
        namespace = obj["metadata"].get("namespace", "default")
        place = KINDS[obj["kind"]].path(namespace)
        status, answer = server.call("POST", f"{place}?dryRun=All&fieldValidation=Strict", obj)
        assert status == 201, f"{path}: {obj['kind']}: {answer['message']}"
        kinds.add(obj["kind"])
    assert kinds == {"Job", "Secret", "PersistentVolumeClaim", "DataVolume", "VirtualMachine", "DataSource"}


def test_a_field_that_does_not_exist_is_refused(control_plane_with_kubevirt: ControlPlane) -> None:
    (disk,) = [obj for _, obj in sample_objects() if obj["kind"] == "DataVolume"][:1]
    disk["spec"]["storage"]["colour"] = "red"
    place = KINDS["DataVolume"].path("default")
    status, answer = control_plane_with_kubevirt.call("POST", f"{place}?dryRun=All&fieldValidation=Strict", disk)
    assert status == 400
    assert 'unknown field "spec.storage.colour"' in answer["message"]
