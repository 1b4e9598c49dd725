"""Leases: what a leader and those who wait for its place rely on."""

from __future__ import annotations

import asyncio

import pytest

from goldenpipe_kube import Conflict, Event, Object
from support.api import Api
from support.target import Target

MOMENT = "2026-01-15T10:30:00.123456Z"


def a_lease(**spec: object) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "goldenpipe", "annotations": {"goldenpipe.io/address": "http://192.0.2.1:8080"}},
        "spec": {
            "holderIdentity": "one",
            "leaseDurationSeconds": 10,
            "leaseTransitions": 0,
            "renewTime": MOMENT,
            **spec,
        },
    }


async def test_a_lease_keeps_what_its_holder_writes(target: Target) -> None:
    made = await target.kube.create(a_lease())
    assert made["spec"] == a_lease()["spec"]
    found = await target.kube.get("Lease", "goldenpipe")
    assert (found["spec"], found["metadata"]["annotations"]) == (
        a_lease()["spec"],
        a_lease()["metadata"]["annotations"],
    )


async def test_of_two_who_take_a_lease_one_has_it(target: Target) -> None:
    made = await target.kube.create(a_lease())
    wanted = [{**made, "spec": {**made["spec"], "holderIdentity": name}} for name in ("two", "three")]
    answers = await asyncio.gather(*(target.kube.replace(lease) for lease in wanted), return_exceptions=True)
    assert [isinstance(answer, Conflict) for answer in answers].count(True) == 1


async def test_a_lease_that_is_given_back_has_no_holder_but_keeps_its_count(target: Target) -> None:
    made = await target.kube.create(a_lease(leaseTransitions=4))
    spec = {**made["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
    free = await target.kube.replace({**made, "spec": spec})
    assert (free["spec"].get("holderIdentity") or "", free["spec"]["leaseTransitions"]) == ("", 4)


@pytest.mark.parametrize("fault", [{"leaseDurationSeconds": 0}, {"leaseTransitions": -1}])
async def test_a_lease_that_cannot_be_is_refused(target: Target, api: Api, fault: dict[str, int]) -> None:
    answer = await api.call("POST", target.path("apis/coordination.k8s.io/v1", "leases"), a_lease(**fault))
    assert answer.status == 422
    (field,) = fault
    assert [(cause["field"], cause["reason"]) for cause in answer.body["details"]["causes"]] == [
        (f"spec.{field}", "FieldValueInvalid")
    ]


async def test_a_watch_of_one_lease_tells_each_renewal(target: Target) -> None:
    made = await target.kube.create(a_lease())
    seen: list[object] = []
    async with asyncio.timeout(20):
        async for event in target.kube.watch("Lease", fields="metadata.name=goldenpipe"):
            if not isinstance(event, Event):
                await target.kube.replace({**made, "spec": {**made["spec"], "leaseTransitions": 1}})
                continue
            seen.append(event.object["spec"]["leaseTransitions"])
            if len(seen) == 2:
                break
    assert seen == [0, 1]
