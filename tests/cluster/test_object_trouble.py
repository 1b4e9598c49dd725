"""Somebody deletes, evicts or stops what a build works with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_kube import Kube, Object
from support.controlplane import Cluster, ControlPlane
from support.guests import HANG, boot_disk
from support.rest import Rest
from support.templates import Overlay
from support.watching import until

pytestmark = pytest.mark.cluster
IMAGES = "/api/v1/images"
OURS = "goldenpipe.io/image=a"
NODE_SECONDS = 90.0
ALONE = """\
mkdir {lock} || {{ echo two at a time; exit 20; }}
trap 'rmdir {lock}; exit 143' TERM
if mkdir {mark}; then echo at work; sleep 600 & wait; fi
rmdir {lock}
"""
"""The first attempt works until it is stopped, the second is done at once; two at a time are an error."""


async def only_jobs_are_left(admin: Kube) -> None:
    """The finished ones, for `kubectl logs`."""
    for kind in ("VirtualMachine", "VirtualMachineInstance", "DataVolume", "PersistentVolumeClaim", "Secret"):
        assert await admin.list(kind, labels=f"{OURS},!goldenpipe.io/record") == [], kind
    for pod in await admin.list("Pod", labels=OURS):
        assert pod["status"]["phase"] in ("Succeeded", "Failed")


async def test_an_evicted_step_is_done_again_and_never_twice_at_a_time(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    script = ALONE.format(lock=overlay.folder / "lock", mark=overlay.folder / "mark")
    overlay.step("one", script.replace("$", "$$")).step("two")
    await rest.create("a")
    await rest.log_line("a", "one", "at work")
    (pod,) = await admin.list("Pod", labels=OURS)
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{admin.namespace}/pods/{name}/eviction"
    assert (await asyncio.to_thread(real.call, "POST", path, eviction))[0] == 201
    status = await rest.end("a")
    assert status["status"] == "ready", status["error"]
    assert overlay.ran() == ["one", "one", "two"]
    await only_jobs_are_left(admin)


async def test_a_job_deleted_while_the_service_was_down_fails_the_build_and_is_not_made_again(
    cluster: Cluster, settings: Settings, overlay: Overlay, admin: Kube
) -> None:
    overlay.step("one", "echo at work; exec sleep 600").step("two")
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        rest = Rest(service.address, session)
        await rest.create("a")
        await rest.log_line("a", "one", "at work")
    (job,) = await admin.list("Job", labels=OURS)
    await admin.delete("Job", job["metadata"]["name"])
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        status = await Rest(service.address, session).end("a")
    assert "was deleted while it ran" in status["error"]["message"]
    assert overlay.ran() == ["one"]
    await only_jobs_are_left(admin)


async def test_a_job_deleted_after_its_step_was_done_does_not_matter(rest: Rest, overlay: Overlay, admin: Kube) -> None:
    gate = overlay.gate("gate")
    overlay.step("one").step("two", f"echo at work; read _ < {gate}")
    await rest.create("a")
    await rest.log_line("a", "two", "at work")
    (job,) = await admin.list("Job", labels=f"{OURS},goldenpipe.io/step=one")
    await admin.delete("Job", job["metadata"]["name"])
    await asyncio.to_thread(gate.open)
    assert (await rest.end("a"))["status"] == "ready"
    assert overlay.ran() == ["one", "two"]


async def test_a_node_that_is_gone_for_a_minute_holds_a_build_up_and_no_more(
    rest: Rest, overlay: Overlay, admin: Kube, cluster: Cluster
) -> None:
    assert cluster.node
    gate = overlay.gate("gate")
    overlay.step("one", f"echo at work; read _ < {gate}").step("two")
    await rest.create("a")
    await rest.log_line("a", "one", "at work")
    await cluster.node.stop()
    await asyncio.to_thread(gate.open)
    # the cluster gives a node up that has said nothing for 50 seconds
    await until(admin, "Node", is_lost, name="local", seconds=NODE_SECONDS)
    (pod,) = await admin.list("Pod", labels=OURS)
    assert pod["status"]["phase"] == "Running"
    await cluster.node.start()
    status = await rest.end("a")
    assert status["status"] == "ready", status["error"]
    assert overlay.ran() == ["one", "two"]
    await only_jobs_are_left(admin)


def is_lost(node: Object) -> bool:
    ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
    return bool(ready["status"] == "Unknown")


async def test_cloud_inits_secret_is_made_again_for_the_first_boot_and_not_missed_after_it(
    rest: Rest, overlay: Overlay, admin: Kube, tmp_path: Path
) -> None:
    first, second = overlay.gate("first"), overlay.gate("second")
    manifests = ["ssh-keys.yaml", "cloud-init.yaml"]
    overlay.step("hold", f"echo at work; read _ < {first}", needs_vm=True, manifests=manifests)
    overlay.boot().step("work", f"echo at work; read _ < {second}", needs_vm=True)
    disk = boot_disk(tmp_path, "up\n", HANG)
    await rest.create("a", base_iso_url=disk.as_uri(), storage_size="1Mi", memory="128Mi", cpu=1)
    for step, gate in (("hold", first), ("work", second)):
        await rest.log_line("a", step, "at work")
        (secret,) = [
            name
            for each in await admin.list("Secret", labels=OURS)
            if (name := each["metadata"]["name"]).endswith("-cloud-init")
        ]
        await admin.delete("Secret", secret)
        await asyncio.to_thread(gate.open)
    status = await rest.end("a")
    assert status["status"] == "ready", status["error"]
    assert await admin.list("VirtualMachine", labels=OURS) == []
    assert await admin.list("Secret", labels=f"{OURS},!goldenpipe.io/record") == []
