"""What each user of the local cluster may do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml

from goldenpipe_local.api import ApiServer
from goldenpipe_local.api.access import STEP_ACCOUNTS, User
from support.api import Api
from support.markdown import read
from support.objects import a_config
from support.target import Target

_VM = "virtualmachines"
_KUBEVIRT = "apis/kubevirt.io/v1"
_CDI = "apis/cdi.kubevirt.io/v1beta1"


@pytest.fixture
async def step(local_api: ApiServer) -> AsyncIterator[Api]:
    """A step that has no account of its own."""
    async with Api.connect(local_api.kubeconfig_of_account("of-somebody-else")) as connection:
        yield connection


@pytest.fixture
async def create_vm(local_api: ApiServer) -> AsyncIterator[Api]:
    async with Api.connect(local_api.kubeconfig_of_account("goldenpipe-step-create-vm")) as connection:
        yield connection


def rights(user: User) -> set[tuple[str, str, str]]:
    return {(g, r, v) for rule in user.rules for g in rule.api_groups for r in rule.resources for v in rule.verbs}


def test_steps_have_the_same_rights_here_as_the_manifests_give_them_on_a_cluster() -> None:
    objects = yaml.safe_load_all(read("manifests/base/step-accounts.yaml"))
    roles = {
        obj["metadata"]["name"]: {
            (group, resource, verb)
            for rule in obj["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        for obj in objects
        if obj["kind"] == "Role"
    }
    assert {user.name: rights(user) for user in STEP_ACCOUNTS} == roles


async def test_a_step_may_look_at_machines_disks_and_pods(target: Target, step: Api) -> None:
    for path in (
        target.core("pods"),
        target.core("persistentvolumeclaims"),
        target.path(_CDI, "datavolumes"),
        target.path(_KUBEVIRT, _VM),
        target.path(_KUBEVIRT, "virtualmachineinstances"),
    ):
        assert (await step.call("GET", path)).status == 200, path


async def test_a_step_may_not_read_secrets(target: Target, step: Api) -> None:
    answer = await step.call("GET", target.core("secrets", "one"))
    assert answer.status == 403
    assert answer.reason == "Forbidden"
    assert answer.body["message"] == (
        'secrets "one" is forbidden: User "goldenpipe-step" cannot get resource "secrets" in API group "" '
        f'in the namespace "{target.namespace}"'
    )


async def test_a_step_may_not_make_or_change_anything(target: Target, step: Api) -> None:
    assert (await step.call("POST", target.core("configmaps"), a_config())).status == 403
    assert (await step.call("POST", target.jobs(), {})).status == 403
    assert (await step.call("DELETE", target.path(_KUBEVIRT, _VM, "one"))).status == 403
    assert (await step.call("GET", target.jobs())).status == 403


async def test_only_the_step_that_boots_the_machine_may_start_it(target: Target, create_vm: Api, step: Api) -> None:
    root = "apis/subresources.kubevirt.io/v1"
    for api, action, status in ((create_vm, "start", 404), (create_vm, "stop", 403), (step, "start", 403)):
        path = target.path(root, _VM, "none", action)
        answer = await api.call("PUT", path, {}, headers={"Accept": "*/*"})
        # allowed, and there is no such machine; or not allowed
        assert answer.status == status, action


async def test_the_step_that_downloads_sees_disks_and_nothing_else(target: Target, local_api: ApiServer) -> None:
    async with Api.connect(local_api.kubeconfig_of_account("goldenpipe-step-download-iso")) as download:
        assert (await download.call("GET", target.path(_CDI, "datavolumes"))).status == 200
        assert (await download.call("GET", target.core("pods"))).status == 403
        assert (await download.call("GET", target.path(_KUBEVIRT, _VM))).status == 403


async def test_a_step_can_ask_what_it_may(target: Target, create_vm: Api) -> None:
    async def may(verb: str, group: str, resource: str, subresource: str = "") -> bool:
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        review = {"spec": {"resourceAttributes": {**asked, "namespace": target.namespace}}}
        answer = await create_vm.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
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
