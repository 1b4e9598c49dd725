"""Planning: which steps, under which ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from goldenpipe.errors import InvalidRequest
from goldenpipe.model.request import ImageRequest
from goldenpipe.model.status import StepStatus
from goldenpipe.planning.plan import Plan, plan_build
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.bundle import Bundle

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BUNDLE = Bundle.read()


def plan(customizations: dict[str, Any] | None = None, *, bundle: Bundle = BUNDLE, **changes: Any) -> Plan:
    document = {"name": "ubuntu-22.04-golden", "os_type": "linux", "base_iso_url": "https://h/base.qcow2", **changes}
    request = ImageRequest.model_validate({**document, "customizations": customizations or {}})
    return plan_build(request, bundle, ClusterSettings(), NOW)


def ids(found: Plan) -> list[str]:
    return [step.chained_id for step in found.steps]


def test_the_steps_are_those_of_the_reference_in_order() -> None:
    names = [step.name for step in plan().steps]
    assert names[:2] == ["download_iso", "create_vm"]
    assert names[2:7] == ["write_files", "install_packages", "create_users", "authorize_keys", "run_scripts"]
    assert names[7:] == ["seal_image", "publish_image"]


def test_steps_with_nothing_to_do_are_skipped() -> None:
    found = plan({"packages": ["curl"]})
    skipped = {step.name for step in found.steps if step.status is StepStatus.SKIPPED}
    assert skipped == {"write_files", "create_users", "authorize_keys", "run_scripts"}


def test_a_change_gives_a_new_id_to_its_step_and_all_after_it_and_to_none_before() -> None:
    before, after = ids(plan({"packages": ["curl"]})), ids(plan({"packages": ["jq"]}))
    assert before[:3] == after[:3]
    assert all(a != b for a, b in zip(before[3:], after[3:], strict=True))


def test_another_base_image_changes_every_id() -> None:
    before, after = ids(plan()), ids(plan(base_iso_url="https://h/other.qcow2"))
    assert not set(before) & set(after)


def test_a_changed_template_changes_the_id() -> None:
    files = dict(BUNDLE.files)
    files["steps/create_users.yaml"] = files["steps/create_users.yaml"].replace("10m", "11m")
    before, after = ids(plan()), ids(plan(bundle=Bundle(files)))
    assert before[:4] == after[:4]
    assert before[4] != after[4]


def test_a_changed_answer_file_changes_the_id_of_the_step_whose_manifest_uses_it() -> None:
    secret = "kind: Secret\nmetadata: {name: s}\nstringData: {a: \"{{ answer('a.cfg') }}\"}\n"
    files = {**BUNDLE.files, "manifests/cloud-init.yaml": secret}
    before, after = (ids(plan(bundle=Bundle({**files, "answers/a.cfg": text}))) for text in ("one", "two"))
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_names_with_dots_become_dns_labels_where_kubernetes_wants_them() -> None:
    found = plan(name="ubuntu-22.04-golden-with-a-very-long-name-indeed-it-is-very-lo")
    assert "." not in found.build
    assert all(len(step.job) <= 63 and "." not in step.job for step in found.steps)
    assert len(found.vm) <= 63
    assert found.vm.startswith("golden-image-ubuntu-22.04-golden-with-")
    assert found.vm.endswith(found.build[-6:])


def test_a_vm_is_named_like_its_image_and_build() -> None:
    found = plan(name="ubuntu-22.04-golden")
    assert found.vm == f"{found.pvc}{found.build[-6:]}"


def test_the_same_request_at_another_moment_is_another_build() -> None:
    request = ImageRequest(name="a", os_type="linux", base_iso_url="https://h/base.qcow2")
    first = plan_build(request, BUNDLE, ClusterSettings(), NOW)
    second = plan_build(request, BUNDLE, ClusterSettings(), NOW.replace(second=6))
    assert first.build != second.build
    assert first.steps[0].chained_id == second.steps[0].chained_id


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"os_type": "windows"}, "base_iso_url"),
    ],
)
def test_what_no_pipeline_can_build_is_refused_before_anything_is_made(changes: dict[str, str], path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan(**changes)
    assert caught.value.details[0].path == path


def test_input_that_no_secret_can_hold_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Secret"):
        plan({"files": {"/a": "x" * 1_000_000}})
