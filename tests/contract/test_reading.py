"""Lists, selectors, pages, watches and tables."""

from __future__ import annotations

import pytest

from support.api import Api
from support.objects import a_config, a_job, a_pod
from support.target import Target


async def names(target: Target, kind: str = "ConfigMap", **selectors: str) -> set[str]:
    found = {item["metadata"]["name"] for item in await target.kube.list(kind, **selectors)}
    # a real cluster puts this one into every namespace
    return found - {"kube-root-ca.crt"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("colour=red", {"one"}),
        ("colour==red", {"one"}),
        ("colour!=red", {"two", "three"}),
        ("colour", {"one", "two"}),
        ("!colour", {"three"}),
        ("colour in (red, blue)", {"one", "two"}),
        ("colour notin (red)", {"two", "three"}),
        ("colour in (red, blue),size!=big", {"one"}),
        ("size>3", set()),
    ],
)
async def test_label_selectors_choose(target: Target, selector: str, expected: set[str]) -> None:
    await target.kube.create(a_config("one", labels={"colour": "red"}))
    await target.kube.create(a_config("two", labels={"colour": "blue", "size": "big"}))
    await target.kube.create(a_config("three"))
    assert await names(target, labels=selector) == expected


@pytest.mark.parametrize("selector", ["a b", "=x", "a in red", "a in (x", ",,"])
async def test_a_label_selector_that_cannot_be_read_is_a_bad_request(target: Target, api: Api, selector: str) -> None:
    answer = await api.call("GET", f"{target.core('configmaps')}?labelSelector={selector}")
    assert answer.status == 400


async def test_field_selectors_choose(target: Target) -> None:
    await target.kube.create(a_pod("one"))
    await target.kube.create(a_pod("two"))
    assert await names(target, "Pod", fields="metadata.name=one") == {"one"}
    assert await names(target, "Pod", fields="metadata.name!=one") == {"two"}
    assert await names(target, "Pod", fields="status.phase=Pending") == {"one", "two"}
    assert await names(target, "Pod", fields="status.phase=Running") == set()
    assert await names(target, "Pod", fields="spec.nodeName=") == {"one", "two"}


async def test_a_field_selector_on_any_other_field_is_a_bad_request(target: Target, api: Api) -> None:
    unknown = '"data.key" is not a known field selector: only "metadata.name", "metadata.namespace"'
    told = {
        target.core("configmaps"): unknown,
        target.core("persistentvolumeclaims"): unknown,
        target.core("pods"): "field label not supported: data.key",
        target.jobs(): 'field label "data.key" not supported for Job',
    }
    for path, message in told.items():
        answer = await api.call("GET", f"{path}?fieldSelector=data.key%3Dvalue")
        assert (answer.status, answer.body["message"]) == (400, message)


async def test_events_are_found_by_what_they_are_about(target: Target, api: Api) -> None:
    for name in ("one", "two"):
        about = {"kind": "Job", "name": name, "namespace": target.namespace, "uid": f"uid-{name}"}
        body = {"metadata": {"name": f"about-{name}"}, "involvedObject": about, "reason": "Test", "type": "Normal"}
        await api.call("POST", target.core("events"), body)
    found = await target.kube.list("Event", fields="involvedObject.name=one,involvedObject.kind=Job")
    assert [item["metadata"]["name"] for item in found] == ["about-one"]


async def test_a_list_comes_in_pages_that_show_one_moment(target: Target, api: Api) -> None:
    for number in range(5):
        await target.kube.create(a_config(f"c{number}", labels={"mine": "yes"}))
    path = f"{target.core('configmaps')}?labelSelector=mine&limit=2"
    first = (await api.call("GET", path)).body
    assert [item["metadata"]["name"] for item in first["items"]] == ["c0", "c1"]
    await target.kube.delete("ConfigMap", "c4")
    await target.kube.create(a_config("c5", labels={"mine": "yes"}))
    second = (await api.call("GET", f"{path}&continue={first['metadata']['continue']}")).body
    third = (await api.call("GET", f"{path}&continue={second['metadata']['continue']}")).body
    assert [item["metadata"]["name"] for item in second["items"] + third["items"]] == ["c2", "c3", "c4"]
    assert "continue" not in third["metadata"]
    assert third["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_watch_tells_what_happened_after_the_list(target: Target, api: Api) -> None:
    await target.kube.create(a_config("before"))
    listed = (await api.call("GET", target.core("configmaps"))).body
    await target.kube.create(a_config("one"))
    await target.kube.patch("ConfigMap", "one", {"data": {"key": "new"}})
    await target.kube.delete("ConfigMap", "one")
    path = f"{target.core('configmaps')}?resourceVersion={listed['metadata']['resourceVersion']}"
    async with api.watch(f"{path}&fieldSelector=metadata.name%3Done") as watch:
        assert await watch.told(3) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
        await target.kube.create(a_config("one"))
        assert await watch.told(1) == [("ADDED", "one")]


async def test_versions_in_a_watch_only_rise(target: Target, api: Api) -> None:
    listed = (await api.call("GET", target.core("configmaps"))).body
    for number in range(4):
        await target.kube.create(a_config(f"c{number}"))
    path = f"{target.core('configmaps')}?resourceVersion={listed['metadata']['resourceVersion']}"
    async with api.watch(f"{path}&timeoutSeconds=1") as watch:
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in await watch.rest()]
    assert versions == sorted(set(versions))
    assert len(versions) >= 4


async def test_a_watch_without_a_version_begins_with_what_there_is(target: Target, api: Api) -> None:
    await target.kube.create(a_config("one", labels={"mine": "yes"}))
    async with api.watch(f"{target.core('configmaps')}?labelSelector=mine") as watch:
        assert await watch.told(1) == [("ADDED", "one")]


async def test_a_watch_ends_when_its_time_is_over(target: Target, api: Api) -> None:
    listed = await api.call("GET", target.core("configmaps"))
    # without a version a busy server may not be sure within the second that it knows the latest one, and says so
    since = f"resourceVersion={listed.body['metadata']['resourceVersion']}"
    async with api.watch(f"{target.core('configmaps')}?timeoutSeconds=1&labelSelector=nobody&{since}") as watch:
        assert await watch.rest() == []


async def test_an_object_that_stops_matching_is_deleted_for_the_watcher(target: Target, api: Api) -> None:
    await target.kube.create(a_config("one", labels={"mine": "yes"}))
    async with api.watch(f"{target.core('configmaps')}?labelSelector=mine%3Dyes") as watch:
        assert await watch.told(1) == [("ADDED", "one")]
        await target.kube.patch("ConfigMap", "one", {"metadata": {"labels": {"mine": "no"}}})
        assert await watch.told(1) == [("DELETED", "one")]
        await target.kube.patch("ConfigMap", "one", {"metadata": {"labels": {"mine": "yes"}}})
        assert await watch.told(1) == [("ADDED", "one")]


async def test_a_watch_can_mark_the_end_of_its_first_events(target: Target, api: Api) -> None:
    await target.kube.create(a_config("one", labels={"mine": "yes"}))
    query = "labelSelector=mine&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    async with api.watch(f"{target.core('configmaps')}?{query}") as watch:
        first = await watch.next()
        if first["type"] == "ERROR" and "RequestWatchProgress" in first["object"]["message"]:
            pytest.skip("etcd is older than 3.4.25, so the API server has no such watch")
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "one")
        mark = await watch.next()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["object"]["metadata"]["resourceVersion"]) > 0


async def test_a_version_of_the_future_is_not_served(target: Target, api: Api) -> None:
    answer = await api.call("GET", f"{target.core('configmaps')}?resourceVersion=999999999999")
    assert answer.status == 504
    assert "Too large resource version" in answer.body["message"]


async def test_a_list_can_be_had_as_the_table_kubectl_prints(target: Target, api: Api) -> None:
    await target.kube.create(a_job())
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    table = (await api.call("GET", target.jobs(), headers={"Accept": accept})).body
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns[:5] == ["Name", "Status", "Completions", "Duration", "Age"]
    (row,) = table["rows"]
    assert row["cells"][0] == "one"
    assert row["cells"][2] == "0/1"
    assert row["object"]["kind"] == "PartialObjectMetadata"
