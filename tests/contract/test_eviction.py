"""The Eviction API: what drains nodes, and what the Job controller is to make of it."""

from __future__ import annotations

from support.objects import Object, a_pod
from support.target import Target


def an_eviction(name: str, **more: object) -> Object:
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **more}


async def a_bound_pod(target: Target) -> None:
    await target.kube.create(a_pod())
    binding = {"metadata": {"name": "one"}, "target": {"apiVersion": "v1", "kind": "Node", "name": "no-such-node"}}
    await target.api.call("POST", target.core("pods", "one", "binding"), binding)
    await target.kube.patch("Pod", "one", {"status": {"phase": "Running"}}, subresource="status")


async def test_an_evicted_pod_is_deleted_and_says_that_it_was_disrupted(target: Target) -> None:
    await a_bound_pod(target)
    answer = await target.api.call("POST", target.core("pods", "one", "eviction"), an_eviction("one"))
    assert (answer.status, answer.body["kind"], answer.body["status"]) == (201, "Status", "Success")
    pod = await target.kube.get("Pod", "one")
    assert pod["metadata"]["deletionTimestamp"]
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    (told,) = [each for each in pod["status"]["conditions"] if each["type"] == "DisruptionTarget"]
    expected = ("True", "EvictionByEvictionAPI", "Eviction API: evicting")
    assert (told["status"], told["reason"], told["message"]) == expected


async def test_the_grace_period_of_an_eviction_counts(target: Target) -> None:
    await a_bound_pod(target)
    eviction = an_eviction("one", deleteOptions={"gracePeriodSeconds": 5})
    assert (await target.api.call("POST", target.core("pods", "one", "eviction"), eviction)).status == 201
    assert (await target.kube.get("Pod", "one"))["metadata"]["deletionGracePeriodSeconds"] == 5


async def test_a_pod_that_no_node_has_yet_is_gone_when_it_is_evicted(target: Target) -> None:
    await target.kube.create(a_pod())
    answer = await target.api.call("POST", target.core("pods", "one", "eviction"), an_eviction("one"))
    assert answer.status == 201
    assert await target.kube.find("Pod", "one") is None


async def test_what_is_not_there_cannot_be_evicted(target: Target) -> None:
    answer = await target.api.call("POST", target.core("pods", "none", "eviction"), an_eviction("none"))
    assert (answer.status, answer.reason) == (404, "NotFound")


async def test_an_eviction_of_another_name_is_refused(target: Target) -> None:
    await target.kube.create(a_pod())
    answer = await target.api.call("POST", target.core("pods", "one", "eviction"), an_eviction("two"))
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert await target.kube.find("Pod", "one") is not None


async def test_discovery_knows_evictions(target: Target) -> None:
    resources = (await target.api.call("GET", "/api/v1")).body["resources"]
    (found,) = [each for each in resources if each["name"] == "pods/eviction"]
    assert (found["group"], found["version"], found["kind"], found["verbs"]) == (
        "policy",
        "v1",
        "Eviction",
        ["create"],
    )
