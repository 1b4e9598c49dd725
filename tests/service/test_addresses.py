"""Where steps look for the guest: the test plays the kubelet and KubeVirt, and takes a running VM's address away."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import ClusterSettings, Settings
from goldenpipe_kube import Kube, Object
from goldenpipe_local.api import ApiServer
from goldenpipe_local.jobs import JobController
from support.kubelet import Kubelet
from support.rest import Rest
from support.templates import Overlay
from support.watching import until

IMAGE = "/api/v1/images/a"


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    manifests = ["ssh-keys.yaml", "cloud-init.yaml", "build-vm.yaml"]
    overlay = Overlay(tmp_path / "overlay").step("boot", needs_vm=True, api=True, manifests=manifests)
    return overlay.step("work", needs_vm=True)


@pytest.fixture
def cluster_settings() -> ClusterSettings:
    return ClusterSettings()


@pytest.fixture
async def rest(
    api: ApiServer, tmp_path: Path, overlay: Overlay, cluster_settings: ClusterSettings
) -> AsyncIterator[Rest]:
    folders = (overlay.templates,)
    settings = Settings(data_dir=tmp_path / "data", port=0, templates=folders, cluster=cluster_settings)
    async with running(settings, kubeconfig=api.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


@pytest.fixture
async def kube(api: ApiServer) -> AsyncIterator[Kube]:
    async with (
        await Kube.connect(api.kubeconfig) as client,
        await Kube.connect(api.kubeconfig_of("jobs")) as jobs,
        JobController(jobs),
    ):
        await Kubelet(kube=client).ready()
        yield client


def interfaces(*addresses: str) -> Object:
    return {"interfaces": [{"name": "default", "ipAddress": address} for address in addresses]}


async def boot(kube: Kube, *addresses: str) -> str:
    """The build's VM runs, with these addresses, when its first step has ended; the VM's name."""
    kubelet = Kubelet(kube=kube)
    pod = await kubelet.next_pod()
    (vm,) = await kube.list("VirtualMachine")
    metadata = {"name": vm["metadata"]["name"], **vm["spec"]["template"]["metadata"]}
    spec = vm["spec"]["template"]["spec"]
    status = {"phase": "Running", **interfaces(*addresses)}
    kind = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance"}
    await kube.create({**kind, "metadata": metadata, "spec": spec, "status": status})
    await kubelet.start(pod)
    await kubelet.end(pod, 0)
    return str(vm["metadata"]["name"])


async def guest_of(kube: Kube) -> Object:
    """What the step that works in the guest is told of it."""
    job = await until(kube, "Job", lambda each: each["metadata"]["labels"]["goldenpipe.io/step"] == "work")
    secret = await kube.get("Secret", job["metadata"]["name"])
    document: Object = json.loads(base64.b64decode(secret["data"]["input.json"]))["guest"]
    return document


async def test_a_step_is_told_the_address_that_the_vm_has_when_it_starts(rest: Rest, kube: Kube) -> None:
    await rest.create("a")
    await boot(kube, "10.244.0.9")
    assert (await guest_of(kube))["address"] == "10.244.0.9"


async def test_a_step_waits_for_an_address_that_is_gone_for_a_moment(rest: Rest, kube: Kube) -> None:
    await rest.create("a")
    vm = await boot(kube)
    async for status in rest.statuses("a"):
        if status["steps"][1]["status"] == "in_progress":
            break
    assert [job["metadata"]["labels"]["goldenpipe.io/step"] for job in await kube.list("Job")] == ["boot"]
    await kube.patch("VirtualMachineInstance", vm, {"status": interfaces("10.244.0.12")})
    assert (await guest_of(kube))["address"] == "10.244.0.12"


@pytest.mark.parametrize("cluster_settings", [ClusterSettings(boot_timeout_seconds=1)])
async def test_an_address_that_does_not_come_back_ends_the_build(rest: Rest, kube: Kube) -> None:
    await rest.create("a")
    vm = await boot(kube)
    async for status in rest.statuses("a"):
        if status["error"]:
            break
    assert status["error"]["message"] == "the build VM runs, but has had no address for 1 s"
    assert status["error"]["step"] == "work"
    await kube.delete("VirtualMachineInstance", vm)
    assert (await rest.end("a"))["status"] == "failed"
