"""What each user of the local cluster may do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from goldenpipe_local.api import ApiServer
from support.api import Api
from support.objects import a_config
from support.target import Target

_VM = "virtualmachines"
_KUBEVIRT = "apis/kubevirt.io/v1"


@pytest.fixture
async def step(local_api: ApiServer) -> AsyncIterator[Api]:
    async with Api.connect(local_api.kubeconfig_of("step")) as connection:
        yield connection


async def test_a_step_may_look_at_machines_disks_and_pods(target: Target, step: Api) -> None:
    for path in (
        target.core("pods"),
        target.core("persistentvolumeclaims"),
        target.path("apis/cdi.kubevirt.io/v1beta1", "datavolumes"),
        target.path(_KUBEVIRT, _VM),
        target.path(_KUBEVIRT, "virtualmachineinstances"),
    ):
        assert (await step.call("GET", path)).status == 200, path


async def test_a_step_may_not_read_secrets(target: Target, step: Api) -> None:
    answer = await step.call("GET", target.core("secrets", "one"))
    assert answer.status == 403
    assert answer.reason == "Forbidden"
    assert answer.body["message"] == (
        'secrets "one" is forbidden: User "step" cannot get resource "secrets" in API group "" '
        f'in the namespace "{target.namespace}"'
    )


async def test_a_step_may_not_make_or_change_anything(target: Target, step: Api) -> None:
    assert (await step.call("POST", target.core("configmaps"), a_config())).status == 403
    assert (await step.call("POST", target.jobs(), {})).status == 403
    assert (await step.call("DELETE", target.path(_KUBEVIRT, _VM, "one"))).status == 403
    assert (await step.call("GET", target.jobs())).status == 403


async def test_a_step_may_start_and_stop_machines_but_not_restart_them(target: Target, step: Api) -> None:
    root = "apis/subresources.kubevirt.io/v1"
    for action, status in (("start", 404), ("stop", 404), ("restart", 403)):
        path = target.path(root, _VM, "none", action)
        answer = await step.call("PUT", path, {}, headers={"Accept": "*/*"})
        # allowed, and there is no such machine; or not allowed
        assert answer.status == status, action


async def test_a_step_can_ask_what_it_may(target: Target, step: Api) -> None:
    async def may(verb: str, group: str, resource: str, subresource: str = "") -> bool:
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        review = {"spec": {"resourceAttributes": {**asked, "namespace": target.namespace}}}
        answer = await step.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer.body["status"]["allowed"])

    assert await may("get", "", "pods", "log")
    assert await may("update", "subresources.kubevirt.io", _VM, "start")
    assert not await may("create", "batch", "jobs")
    assert not await may("get", "", "secrets")


async def test_without_a_token_there_is_nothing_but_health(target: Target, api: Api) -> None:
    for path in (target.core("pods"), "/version", "/api", "/apis", "/openapi/v2"):
        answer = await api.call("GET", path, headers={"Authorization": ""})
        assert answer.status == 401, path
    assert (await api.call("GET", "/readyz", headers={"Authorization": ""})).status == 200
