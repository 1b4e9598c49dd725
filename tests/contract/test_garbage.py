"""Owners and what they own. On a real cluster this is the work of kube-controller-manager."""

from __future__ import annotations

from typing import Any

import pytest

from goldenpipe_kube import Kube, NotFound, Object
from support.api import Api
from support.objects import a_config
from support.target import Target
from support.watching import until, until_gone


def owned_by(owner: Object, *, blocking: bool = True) -> dict[str, Any]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": blocking,
    }
    return {"ownerReferences": [reference]}


async def family(kube: Kube) -> Object:
    owner = await kube.create(a_config("owner"))
    await kube.create(a_config("child", **owned_by(owner)))
    return owner


async def test_what_is_owned_goes_with_its_owner(target: Target) -> None:
    await family(target.kube)
    await target.kube.delete("ConfigMap", "owner", propagation="Background")
    await until_gone(target.kube, "ConfigMap", "child")


async def test_what_is_orphaned_stays_and_forgets_its_owner(target: Target) -> None:
    await family(target.kube)
    await target.kube.delete("ConfigMap", "owner", propagation="Orphan")
    await until_gone(target.kube, "ConfigMap", "owner")
    child = await target.kube.get("ConfigMap", "child")
    assert "ownerReferences" not in child["metadata"]


async def test_in_the_foreground_the_owner_goes_last(target: Target) -> None:
    owner = await target.kube.create(a_config("owner"))
    held = {**owned_by(owner), "finalizers": ["goldenpipe.io/test"]}
    await target.kube.create(a_config("child", **held))
    await target.kube.delete("ConfigMap", "owner", propagation="Foreground")
    await until(target.kube, "ConfigMap", lambda it: bool(it["metadata"].get("deletionTimestamp")), name="child")
    assert (await target.kube.get("ConfigMap", "owner"))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await target.kube.patch("ConfigMap", "child", {"metadata": {"finalizers": None}})
    await until_gone(target.kube, "ConfigMap", "owner")


async def test_grandchildren_go_too(target: Target) -> None:
    owner = await target.kube.create(a_config("owner"))
    child = await target.kube.create(a_config("child", **owned_by(owner)))
    await target.kube.create(a_config("grandchild", **owned_by(child)))
    await target.kube.delete("ConfigMap", "owner", propagation="Foreground")
    await until_gone(target.kube, "ConfigMap", "owner")
    with pytest.raises(NotFound):
        await target.kube.get("ConfigMap", "grandchild")


async def test_what_has_another_owner_stays(target: Target) -> None:
    first, second = [await target.kube.create(a_config(name)) for name in ("first", "second")]
    owners = owned_by(first)["ownerReferences"] + owned_by(second)["ownerReferences"]
    await target.kube.create(a_config("child", ownerReferences=owners))
    await target.kube.create(a_config("only", **owned_by(first)))
    await target.kube.delete("ConfigMap", "first", propagation="Background")
    # the sibling's end shows that the collector has been here
    await until_gone(target.kube, "ConfigMap", "only")
    assert not (await target.kube.get("ConfigMap", "child"))["metadata"].get("deletionTimestamp")


async def test_what_is_born_to_an_owner_that_is_gone_does_not_stay(target: Target) -> None:
    owner = await target.kube.create(a_config("owner"))
    await target.kube.delete("ConfigMap", "owner")
    await target.kube.create(a_config("child", **owned_by(owner)))
    await until_gone(target.kube, "ConfigMap", "child", seconds=60)


async def test_a_namespace_takes_all_that_is_in_it(target: Target, api: Api) -> None:
    await target.kube.create(a_config("held", finalizers=["goldenpipe.io/test"]))
    await api.call("DELETE", f"/api/v1/namespaces/{target.namespace}")
    await until(target.kube, "ConfigMap", lambda it: bool(it["metadata"].get("deletionTimestamp")), name="held")
    answer = await api.call("GET", f"/api/v1/namespaces/{target.namespace}")
    assert answer.body["status"]["phase"] == "Terminating"
    refused = await api.call("POST", target.core("configmaps"), a_config("late"))
    assert refused.status == 403
    await target.kube.patch("ConfigMap", "held", {"metadata": {"finalizers": None}})
    await until_gone(target.kube, "ConfigMap", "held")
    since = answer.body["metadata"]["resourceVersion"]
    path = f"/api/v1/namespaces?fieldSelector=metadata.name%3D{target.namespace}&resourceVersion={since}"
    async with api.watch(path) as watch:
        while (event := await watch.next(seconds=60))["type"] != "DELETED":
            assert event["object"]["status"]["phase"] == "Terminating"


async def test_a_watch_is_told_of_an_object_that_goes_as_it_was_kept_last(target: Target, api: Api) -> None:
    """Whoever takes away the last finalizer has it removed: that change itself is never kept."""
    made = await target.kube.create(a_config("held", finalizers=["goldenpipe.io/test"]))
    await target.kube.delete("ConfigMap", "held")
    since = made["metadata"]["resourceVersion"]
    async with api.watch(f"{target.core('configmaps')}?resourceVersion={since}") as watch:
        answer = await target.kube.patch(
            "ConfigMap", "held", {"metadata": {"finalizers": None}, "data": {"key": "new"}}
        )
        assert answer["data"] == {"key": "new"}
        assert (await watch.next())["type"] == "MODIFIED"
        gone = await watch.next()
    assert (gone["type"], gone["object"]["metadata"]["finalizers"]) == ("DELETED", ["goldenpipe.io/test"])
    assert gone["object"]["data"] == {"key": "value"}
    assert int(gone["object"]["metadata"]["resourceVersion"]) > int(since) + 1
