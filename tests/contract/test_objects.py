"""Creating, reading, changing and deleting objects."""

from __future__ import annotations

import pytest

from goldenpipe_kube import Conflict, Invalid, NotFound
from support.api import JSON_PATCH, MERGE, STRATEGIC, Api
from support.objects import a_config, a_job, a_pod
from support.target import Target


async def test_a_new_object_has_uid_version_and_birthday(target: Target) -> None:
    created = await target.kube.create(a_config())
    metadata = created["metadata"]
    assert len(metadata["uid"]) == 36
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["namespace"] == target.namespace
    assert (await target.kube.get("ConfigMap", "one"))["metadata"]["uid"] == metadata["uid"]


async def test_creating_an_object_twice_is_refused_and_says_which(target: Target, api: Api) -> None:
    await target.kube.create(a_config())
    answer = await api.call("POST", target.core("configmaps"), a_config())
    assert answer.status == 409
    assert answer.body["kind"] == "Status"
    assert answer.body["status"] == "Failure"
    assert answer.reason == "AlreadyExists"
    assert answer.body["message"] == 'configmaps "one" already exists'
    assert answer.body["details"] == {"name": "one", "kind": "configmaps"}
    assert answer.body["code"] == 409


async def test_generate_name_makes_different_names(target: Target, api: Api) -> None:
    body = {**a_config(), "metadata": {"generateName": "made-"}}
    names = [(await api.call("POST", target.core("configmaps"), body)).body["metadata"]["name"] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(name.startswith("made-") and len(name) == len("made-") + 5 for name in names)


async def test_a_missing_object_is_not_found(target: Target, api: Api) -> None:
    answer = await api.call("GET", target.jobs("none"))
    assert answer.status == 404
    assert answer.reason == "NotFound"
    assert answer.body["message"] == 'jobs.batch "none" not found'
    assert answer.body["details"] == {"name": "none", "group": "batch", "kind": "jobs"}


async def test_nothing_is_created_in_a_namespace_that_does_not_exist(api: Api) -> None:
    answer = await api.call("POST", "/api/v1/namespaces/nowhere-at-all/configmaps", a_config())
    assert answer.status == 404
    assert answer.body["message"] == 'namespaces "nowhere-at-all" not found'


async def test_a_replace_with_a_stale_version_loses(target: Target) -> None:
    first = await target.kube.create(a_config())
    second = await target.kube.replace({**first, "data": {"key": "newer"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    with pytest.raises(Conflict) as refused:
        await target.kube.replace({**first, "data": {"key": "late"}})
    assert refused.value.reason == "Conflict"
    assert "the object has been modified" in refused.value.message
    assert (await target.kube.get("ConfigMap", "one"))["data"] == {"key": "newer"}


async def test_a_patch_with_a_stale_version_loses(target: Target) -> None:
    first = await target.kube.create(a_config())
    await target.kube.patch("ConfigMap", "one", {"data": {"key": "newer"}})
    stale = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"key": "late"}}
    with pytest.raises(Conflict):
        await target.kube.patch("ConfigMap", "one", stale)


async def test_a_change_with_another_uid_does_not_hit_the_successor(target: Target) -> None:
    await target.kube.create(a_config())
    other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "data": {"key": "late"}}
    with pytest.raises(Invalid, match="field is immutable"):
        await target.kube.patch("ConfigMap", "one", other)
    with pytest.raises(Conflict, match="UID in precondition"):
        await target.kube.replace({**a_config(), "metadata": {**other["metadata"], "name": "one"}})


async def test_a_write_that_changes_nothing_makes_no_new_version(target: Target) -> None:
    created = await target.kube.create(a_config())
    patched = await target.kube.patch("ConfigMap", "one", {"data": {"key": "value"}})
    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_uid_and_birthday_cannot_be_changed(target: Target) -> None:
    created = await target.kube.create(a_config())
    changed = await target.kube.patch(
        "ConfigMap", "one", {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "labels": {"a": "b"}}}
    )
    assert changed["metadata"]["creationTimestamp"] == created["metadata"]["creationTimestamp"]
    assert changed["metadata"]["labels"] == {"a": "b"}


async def test_generation_counts_changes_of_the_spec_alone(target: Target) -> None:
    created = await target.kube.create(a_job())
    assert created["metadata"]["generation"] == 1
    labelled = await target.kube.patch("Job", "one", {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    changed = await target.kube.patch("Job", "one", {"spec": {"backoffLimit": 3}})
    assert changed["metadata"]["generation"] == 2
    told = await target.kube.patch("Job", "one", {"status": {"active": 1}}, subresource="status")
    assert told["metadata"]["generation"] == 2


async def test_status_is_written_through_its_subresource_alone(target: Target) -> None:
    created = await target.kube.create({**a_job(), "status": {"active": 7}})
    assert not created.get("status")
    ignored = await target.kube.patch("Job", "one", {"status": {"active": 7}})
    # where there is a Job controller it may have written its own by now
    assert "active" not in (ignored.get("status") or {})
    status = {"status": {"active": 1}, "spec": {"backoffLimit": 99}}
    written = await target.kube.patch("Job", "one", status, subresource="status")
    assert written["status"]["active"] == 1
    assert written["spec"]["backoffLimit"] == 6


async def test_a_merge_patch_takes_away_what_is_null(target: Target, api: Api) -> None:
    await target.kube.create(a_config(labels={"a": "1", "b": "2"}))
    patch = {"metadata": {"labels": {"a": None}}}
    answer = await api.call("PATCH", target.core("configmaps", "one"), patch, content_type=MERGE)
    assert answer.status == 200
    assert answer.body["metadata"]["labels"] == {"b": "2"}


async def test_a_json_patch_whose_test_fails_changes_nothing(target: Target, api: Api) -> None:
    await target.kube.create(a_config())
    path = target.core("configmaps", "one")
    right = [
        {"op": "test", "path": "/data/key", "value": "value"},
        {"op": "replace", "path": "/data/key", "value": "x"},
    ]
    answer = await api.call("PATCH", path, right, content_type=JSON_PATCH)
    assert answer.body["data"] == {"key": "x"}
    answer = await api.call("PATCH", path, right, content_type=JSON_PATCH)
    assert answer.status == 422
    assert (await target.kube.get("ConfigMap", "one"))["data"] == {"key": "x"}


async def test_a_strategic_patch_merges_containers_by_name(target: Target, api: Api) -> None:
    await target.kube.create(a_pod())
    patch = {"spec": {"containers": [{"name": "step", "image": "registry.lab/step:2"}]}}
    answer = await api.call("PATCH", target.core("pods", "one"), patch, content_type=STRATEGIC)
    assert answer.status == 200
    (container,) = answer.body["spec"]["containers"]
    assert container["image"] == "registry.lab/step:2"
    assert container["terminationMessagePath"] == "/dev/termination-log"


async def test_a_patch_of_an_unknown_format_is_refused(target: Target, api: Api) -> None:
    await target.kube.create(a_config())
    answer = await api.call("PATCH", target.core("configmaps", "one"), {}, content_type="application/json")
    assert answer.status == 415
    assert answer.reason == "UnsupportedMediaType"


async def test_an_object_with_a_finalizer_stays_until_that_is_gone(target: Target) -> None:
    await target.kube.create(a_config(finalizers=["goldenpipe.io/test"]))
    assert await target.kube.delete("ConfigMap", "one")
    waiting = await target.kube.get("ConfigMap", "one")
    assert waiting["metadata"]["deletionTimestamp"]
    await target.kube.patch("ConfigMap", "one", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await target.kube.get("ConfigMap", "one")


async def test_an_object_that_is_going_gets_no_new_finalizer(target: Target, api: Api) -> None:
    await target.kube.create(a_config(finalizers=["goldenpipe.io/test"]))
    await target.kube.delete("ConfigMap", "one")
    patch = {"metadata": {"finalizers": ["goldenpipe.io/test", "goldenpipe.io/late"]}}
    answer = await api.call("PATCH", target.core("configmaps", "one"), patch, content_type=MERGE)
    assert answer.status == 422
    await target.kube.patch("ConfigMap", "one", {"metadata": {"finalizers": None}})


async def test_a_deletion_meant_for_another_object_of_that_name_is_refused(target: Target, api: Api) -> None:
    await target.kube.create(a_config())
    options = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    answer = await api.call("DELETE", target.core("configmaps", "one"), options)
    assert answer.status == 409
    assert answer.reason == "Conflict"
    assert await target.kube.get("ConfigMap", "one")


async def test_deletion_says_what_was_deleted(target: Target, api: Api) -> None:
    created = await target.kube.create(a_config())
    answer = await api.call("DELETE", target.core("configmaps", "one"))
    assert answer.status == 200
    assert answer.body["status"] == "Success"
    assert answer.body["details"] == {"name": "one", "kind": "configmaps", "uid": created["metadata"]["uid"]}


async def test_a_collection_is_deleted_by_label(target: Target, api: Api) -> None:
    for name, colour in (("one", "red"), ("two", "red"), ("three", "blue")):
        await target.kube.create(a_config(name, labels={"colour": colour}))
    answer = await api.call("DELETE", f"{target.core('configmaps')}?labelSelector=colour%3Dred")
    assert answer.status == 200
    left = [item["metadata"]["name"] for item in await target.kube.list("ConfigMap", labels="colour")]
    assert left == ["three"]


async def test_a_dry_run_keeps_nothing(target: Target, api: Api) -> None:
    answer = await api.call("POST", f"{target.core('configmaps')}?dryRun=All", a_config())
    assert answer.status == 201
    with pytest.raises(NotFound):
        await target.kube.get("ConfigMap", "one")
    await target.kube.create(a_config())
    await api.call("DELETE", f"{target.core('configmaps', 'one')}?dryRun=All")
    assert await target.kube.get("ConfigMap", "one")


async def test_a_pod_without_a_node_goes_at_once(target: Target) -> None:
    await target.kube.create(a_pod())
    await target.kube.delete("Pod", "one")
    with pytest.raises(NotFound):
        await target.kube.get("Pod", "one")


async def test_a_pod_on_a_node_stays_until_the_node_says_that_it_is_gone(target: Target, api: Api) -> None:
    await target.kube.create(a_pod())
    binding = {"metadata": {"name": "one"}, "target": {"apiVersion": "v1", "kind": "Node", "name": "no-such-node"}}
    answer = await api.call("POST", target.core("pods", "one", "binding"), binding)
    assert answer.status == 201, answer.body
    assert (await target.kube.get("Pod", "one"))["spec"]["nodeName"] == "no-such-node"
    await target.kube.delete("Pod", "one")
    going = (await target.kube.get("Pod", "one"))["metadata"]
    assert going["deletionGracePeriodSeconds"] == 30
    assert going["deletionTimestamp"] > going["creationTimestamp"]
    await target.kube.delete("Pod", "one", grace_seconds=5)
    assert (await target.kube.get("Pod", "one"))["metadata"]["deletionGracePeriodSeconds"] == 5
    await target.kube.delete("Pod", "one", grace_seconds=0)
    with pytest.raises(NotFound):
        await target.kube.get("Pod", "one")


async def test_a_pod_is_bound_to_a_node_only_once(target: Target, api: Api) -> None:
    await target.kube.create(a_pod())
    binding = {"metadata": {"name": "one"}, "target": {"apiVersion": "v1", "kind": "Node", "name": "no-such-node"}}
    await api.call("POST", target.core("pods", "one", "binding"), binding)
    answer = await api.call("POST", target.core("pods", "one", "binding"), binding)
    assert answer.status == 409
    await target.kube.delete("Pod", "one", grace_seconds=0)
