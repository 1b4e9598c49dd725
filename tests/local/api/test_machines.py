"""start, stop and restart of machines, as KubeVirt's API does them."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import Answer, Api
from support.target import Target

_ROOT = "apis/subresources.kubevirt.io/v1"


def a_machine(strategy: str = "Manual") -> dict[str, Any]:
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "vm"},
        "spec": {"runStrategy": strategy, "template": {"spec": {"domain": {"devices": {}}}}},
    }


async def instance(target: Target, phase: str) -> str:
    """Let the machine's instance be in this phase; its uid."""
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "vm"}}
    created = await target.kube.create({**body, "spec": {"domain": {"devices": {}}}, "status": {"phase": phase}})
    return str(created["metadata"]["uid"])


async def act(target: Target, action: str, body: object = None) -> Answer:
    path = target.path(_ROOT, "virtualmachines", "vm", action)
    return await target.api.call("PUT", path, body, headers={"Accept": "*/*"})


async def requests(target: Target) -> Any:
    return ((await target.kube.get("VirtualMachine", "vm")).get("status") or {}).get("stateChangeRequests")


async def test_starting_a_manual_machine_is_a_request_in_its_status(target: Target) -> None:
    await target.kube.create(a_machine())
    answer = await act(target, "start", {})
    assert (answer.status, answer.body) == (202, b"")
    assert await requests(target) == [{"action": "Start"}]


async def test_the_client_of_the_project_can_start_and_stop(target: Target) -> None:
    await target.kube.create(a_machine())
    await target.kube.act("VirtualMachine", "vm", "start")
    assert await requests(target) == [{"action": "Start"}]


async def test_a_client_that_insists_on_json_is_refused(target: Target, api: Api) -> None:
    await target.kube.create(a_machine())
    path = target.path(_ROOT, "virtualmachines", "vm", "start")
    answer = await api.call("PUT", path, {}, headers={"Accept": "application/json"})
    assert answer.status == 406
    assert await requests(target) is None


async def test_a_running_machine_cannot_be_started(target: Target) -> None:
    await target.kube.create(a_machine())
    await instance(target, "Running")
    answer = await act(target, "start")
    assert answer.status == 409
    assert answer.body["message"] == (
        'Operation cannot be fulfilled on virtualmachine.kubevirt.io "vm": VM is already running'
    )
    assert answer.body["details"] == {"name": "vm", "group": "kubevirt.io", "kind": "virtualmachine"}


async def test_starting_again_after_the_end_stops_the_old_instance_first(target: Target) -> None:
    await target.kube.create(a_machine())
    uid = await instance(target, "Succeeded")
    assert (await act(target, "start")).status == 202
    assert await requests(target) == [{"action": "Stop", "uid": uid}, {"action": "Start"}]


async def test_stopping_is_for_the_instance_that_runs(target: Target) -> None:
    await target.kube.create(a_machine())
    uid = await instance(target, "Running")
    assert (await act(target, "stop", {"gracePeriod": 30})).status == 202
    assert await requests(target) == [{"action": "Stop", "uid": uid}]
    spec = (await target.kube.get("VirtualMachineInstance", "vm"))["spec"]
    assert spec["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize("phase", ["", "Succeeded", "Failed"])
async def test_a_machine_that_does_not_run_cannot_be_stopped(target: Target, phase: str) -> None:
    await target.kube.create(a_machine())
    if phase:
        await instance(target, phase)
    answer = await act(target, "stop")
    assert answer.status == 409
    assert answer.body["message"].endswith("VM is not running")


async def test_a_second_request_waits_for_the_first(target: Target) -> None:
    await target.kube.create(a_machine())
    await act(target, "start")
    answer = await act(target, "start")
    assert answer.status == 409
    assert "already underway" in answer.body["message"]


async def test_a_stop_takes_the_place_of_what_was_asked_before(target: Target) -> None:
    await target.kube.create(a_machine())
    uid = await instance(target, "Running")
    assert (await act(target, "restart")).status == 202
    assert (await act(target, "stop")).status == 202
    assert await requests(target) == [{"action": "Stop", "uid": uid}]


@pytest.mark.parametrize("strategy", ["Once", "Always"])
async def test_a_machine_that_runs_by_itself_takes_no_start(target: Target, strategy: str) -> None:
    await target.kube.create(a_machine(strategy))
    await instance(target, "Succeeded")
    answer = await act(target, "start")
    assert answer.status == 409
    assert answer.body["message"].endswith(f"{strategy} does not support manual start requests")


async def test_stopping_a_once_machine_halts_it_for_good(target: Target) -> None:
    await target.kube.create(a_machine("Once"))
    await instance(target, "Running")
    assert (await act(target, "stop")).status == 202
    assert (await target.kube.get("VirtualMachine", "vm"))["spec"]["runStrategy"] == "Halted"
    assert await requests(target) is None


async def test_starting_a_halted_machine_makes_it_run_always(target: Target) -> None:
    await target.kube.create(a_machine("Halted"))
    assert (await act(target, "start")).status == 202
    assert (await target.kube.get("VirtualMachine", "vm"))["spec"]["runStrategy"] == "Always"


async def test_an_unknown_machine_cannot_be_started(target: Target) -> None:
    answer = await act(target, "start")
    assert answer.status == 404
    assert answer.body["message"] == 'virtualmachine.kubevirt.io "vm" not found'


async def test_status_of_an_instance_is_part_of_the_instance(target: Target, api: Api) -> None:
    await instance(target, "Running")
    path = target.path("apis/kubevirt.io/v1", "virtualmachineinstances", "vm", "status")
    assert (await api.call("GET", path)).status == 404
    changed = await target.kube.patch("VirtualMachineInstance", "vm", {"status": {"phase": "Succeeded"}})
    assert changed["status"] == {"phase": "Succeeded"}
    # as recorded: without the subresource a change of status counts, too
    assert changed["metadata"]["generation"] == 2


async def test_a_machine_needs_exactly_one_way_to_run(target: Target, api: Api) -> None:
    path = target.path("apis/kubevirt.io/v1", "virtualmachines")
    both, neither = a_machine(), a_machine()
    both["spec"]["running"] = True
    del neither["spec"]["runStrategy"]
    for body in (both, neither):
        assert (await api.call("POST", path, body)).status == 422


async def test_a_custom_resource_takes_no_strategic_patch_and_no_blind_replace(target: Target, api: Api) -> None:
    created = await target.kube.create(a_machine())
    path = target.path("apis/kubevirt.io/v1", "virtualmachines", "vm")
    answer = await api.call("PATCH", path, {}, content_type="application/strategic-merge-patch+json")
    assert answer.status == 415
    del created["metadata"]["resourceVersion"]
    answer = await api.call("PUT", path, created)
    assert answer.status == 422
    assert "must be specified for an update" in answer.body["message"]
