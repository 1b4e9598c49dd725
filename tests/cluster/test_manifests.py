"""A real API server takes every object that the built-in templates make, with the strictest validation there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from goldenpipe.lint import job_context, sample_requests
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import Renderer
from goldenpipe.templating.steps import read_step, render_job, render_manifests
from goldenpipe_kube import KINDS, Object
from support.controlplane import KUBEVIRT_BEFORE, ControlPlane, Programs, definitions

pytestmark = pytest.mark.cluster
EVERYTHING = ClusterSettings(
    storage_class="fast",
    access_mode="ReadWriteMany",
    preference="debian",
    instancetype="u1.medium",
    node_selector={"kubernetes.io/arch": "amd64"},
    tolerations=[{"key": "images", "operator": "Exists", "effect": "NoSchedule"}],
)


def sample_objects(settings: ClusterSettings | None = None) -> Iterator[tuple[str, Object]]:
    """Every object that the built-in templates make of the sample requests, each with the step it is made for."""
    bundle = Bundle.read()
    for path in sorted(bundle.files):
        if not path.startswith("steps/"):
            continue
        step = read_step(bundle, path.removeprefix("steps/").removesuffix(".yaml"))
        for request in sample_requests():
            renderer = Renderer(job_context(bundle, step, request, settings))
            for obj in (*render_manifests(bundle, step, renderer), render_job(bundle, step, renderer)):
                yield path, obj


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
    assert kinds == {"Job", "Secret", "DataVolume", "VirtualMachine", "DataSource"}


def test_a_field_that_does_not_exist_is_refused(control_plane_with_kubevirt: ControlPlane) -> None:
    (disk,) = [obj for _, obj in sample_objects() if obj["kind"] == "DataVolume"][:1]
    disk["spec"]["storage"]["colour"] = "red"
    place = KINDS["DataVolume"].path("default")
    status, answer = control_plane_with_kubevirt.call("POST", f"{place}?dryRun=All&fieldValidation=Strict", disk)
    assert status == 400
    assert 'unknown field "spec.storage.colour"' in answer["message"]
