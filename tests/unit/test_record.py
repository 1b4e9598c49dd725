"""What the cluster keeps of a build is all that is needed to make the build again, and no more than may be seen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from goldenpipe.engine.record import Index, history_of, index_of, plan_of, planned, size_fault, with_history
from goldenpipe.model.build import Build, BuildError
from goldenpipe.model.request import ImageRequest
from goldenpipe.model.status import BuildState, StepStatus, Target
from goldenpipe.planning.plan import plan_build
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.bundle import Bundle

BUNDLE = Bundle.read()
START = datetime(2026, 1, 15, 10, 30, 0, 123456, tzinfo=UTC)
INDEX = {"metadata": {"name": "b-record", "uid": "4711"}}


def a_build() -> Build:
    document = {
        "name": "debian-12.golden",
        "os_type": "linux",
        "base_iso_url": "https://h/b.qcow2",
        "labels": {"team": "lab"},
        "customizations": {"packages": ["nginx"], "users": [{"name": "admin", "password": "$6$salt$hash"}]},
    }
    request = ImageRequest.model_validate(document)
    plan = plan_build(request, BUNDLE, ClusterSettings(), START)
    return Build(
        id=plan.build,
        name=request.name,
        os_type=request.os_type,
        request=request.model_dump(),
        labels=request.labels,
        target=Target.PRESENT,
        state=BuildState.QUEUED,
        templates=BUNDLE.digest,
        pipeline=plan.pipeline,
        pvc=plan.pvc,
        vm=plan.vm,
        steps=plan.steps,
        objects=(),
        facts={},
        error=None,
        vm_uid=None,
        size_bytes=None,
        created_at=START,
        updated_at=START,
        started_at=None,
        ended_at=None,
    )


def after_two_steps(build: Build) -> Build:
    """The first step is done, the second works."""
    todo = [step for step in build.steps if step.status is StepStatus.PENDING]
    moment = START + timedelta(seconds=5)
    one = replace(
        todo[0],
        status=StepStatus.COMPLETED,
        message="Downloaded it",
        progress=100,
        job_uid="1",
        started_at=START,
        ended_at=moment,
    )
    two = replace(todo[1], status=StepStatus.IN_PROGRESS, job_uid="2", started_at=moment)
    changed = {one.position: one, two.position: two}
    return replace(
        build,
        state=BuildState.RUNNING,
        steps=tuple(changed.get(step.position, step) for step in build.steps),
        objects=(("DataVolume", build.pvc), ("VirtualMachine", build.vm)),
        facts={"size_bytes": 4096, "os_id": "debian"},
        size_bytes=4096,
        vm_uid="3",
        started_at=START,
        updated_at=moment,
    )


def test_a_build_that_was_asked_for_is_made_again_as_it_was() -> None:
    build = a_build()
    again, bundle = planned(plan_of(build, BUNDLE, INDEX))
    assert again == build
    assert bundle.digest == BUNDLE.digest


def test_a_build_in_its_middle_is_made_again_as_it_was() -> None:
    build = after_two_steps(a_build())
    again, _ = planned(plan_of(build, BUNDLE, INDEX))
    history = json.loads(json.dumps(history_of(build)))
    assert replace(with_history(again, history), state=BuildState.RUNNING) == build


def test_the_index_tells_the_end() -> None:
    error = BuildError(message="no such package", step="install_packages", hint="use another")
    build = replace(after_two_steps(a_build()), error=error)
    index = Index.read(index_of(build, BuildState.FAILED))
    assert (index.build, index.image, index.state) == (build.id, build.name, BuildState.FAILED)
    assert (index.error, index.size_bytes, index.target) == (error, 4096, Target.PRESENT)
    assert index.history == history_of(build)


def test_what_can_be_listed_holds_nothing_of_the_request_but_the_images_name() -> None:
    listed = json.dumps(index_of(after_two_steps(a_build()), BuildState.SUCCEEDED))
    assert "debian-12.golden" in listed
    assert not {word for word in ("nginx", "$6$", "admin", "https://h/b.qcow2") if word in listed}


def test_the_plan_goes_with_its_index_however_that_goes() -> None:
    (owner,) = plan_of(a_build(), BUNDLE, INDEX)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ConfigMap", "b-record", "4711")


def test_the_built_in_templates_and_a_request_of_every_day_are_far_from_too_large() -> None:
    build = a_build()
    assert size_fault(build.request, BUNDLE) is None
    assert len(plan_of(build, BUNDLE, INDEX)["data"]["build.json.gz"]) < 100_000
