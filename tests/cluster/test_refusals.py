"""Quotas and admission policies refuse what a build needs, for ever or for a while."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import pytest

from goldenpipe.engine import engine
from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_kube import Kube, Object
from support.controlplane import Cluster, ControlPlane
from support.controlplane.refusals import quota, refused
from support.guests import HANG, a_machine, a_volume, boot_disk
from support.objects import a_job, a_pod
from support.rest import Rest
from support.templates import Overlay

pytestmark = pytest.mark.cluster
IMAGES = "/api/v1/images"
OURS = "goldenpipe.io/image=a"
WORDS = "not on a Wednesday"


def a_restricted_pod() -> Object:
    """As the namespace's Pod security level wants it."""
    pod = a_pod()
    pod["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod["spec"]["containers"][0]["securityContext"] = own
    return pod


async def only_jobs_are_left(admin: Kube) -> None:
    for kind in ("VirtualMachine", "DataVolume", "PersistentVolumeClaim", "DataSource", "Secret"):
        assert await admin.list(kind, labels=f"{OURS},!goldenpipe.io/record") == [], kind


async def nothing_is_left(admin: Kube) -> None:
    await only_jobs_are_left(admin)
    assert await admin.list("Job", labels=OURS) == []


async def told(rest: Rest, words: str) -> None:
    async for status in rest.statuses("a"):
        if words in status["message"]:
            return
    raise AssertionError(status)


async def failed(rest: Rest) -> str:
    status = await rest.end("a", seconds=120)
    assert status["status"] == "failed"
    return str(status["error"]["message"])


async def test_a_build_whose_jobs_are_refused_says_by_what_and_the_next_one_succeeds(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    overlay.step("one", manifests=["ssh-keys.yaml"], needs_vm=True)
    async with refused(real, admin.namespace, a_job(), WORDS):
        await rest.create("a")
        assert WORDS in await failed(rest)
        assert overlay.ran() == []
        await nothing_is_left(admin)
    await rest.create("b")
    assert (await rest.end("b"))["status"] == "ready"


@pytest.mark.parametrize("example", [a_volume("http://h/d"), a_machine()], ids=lambda example: str(example["kind"]))
async def test_a_build_whose_disk_or_machine_is_refused_says_by_what_and_leaves_nothing(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane, example: Object
) -> None:
    manifests = ["ssh-keys.yaml", "disk.yaml", "cloud-init.yaml", "build-vm.yaml"]
    overlay.step("one", manifests=manifests, needs_vm=True)
    async with refused(real, admin.namespace, example, WORDS):
        await rest.create("a", base_iso_url=boot_disk(overlay.folder, "", HANG).as_uri(), storage_size="1Mi")
        assert WORDS in await failed(rest)
        await nothing_is_left(admin)


async def test_a_build_whose_pod_is_refused_for_a_while_says_so_and_goes_on(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    overlay.step("one")
    async with refused(real, admin.namespace, a_restricted_pod(), WORDS):
        await rest.create("a")
        await told(rest, WORDS)
    assert (await rest.end("a", seconds=120))["status"] == "ready"
    assert overlay.ran() == ["one"]


async def test_a_build_whose_pod_the_quota_never_lets_in_fails_with_that_reason(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    overlay.step("one", timeout=12)
    async with quota(real, admin.namespace, pods="0"):
        await rest.create("a")
        message = await failed(rest)
    assert "deadline of 12 s" in message
    assert "exceeded quota: tight" in message


async def test_a_quota_that_is_free_again_soon_only_delays_a_build(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    overlay.step("one")
    async with quota(real, admin.namespace, count__jobs_batch="0"):
        await rest.create("a")
        await told(rest, "exceeded quota: tight")
    assert (await rest.end("a"))["status"] == "ready"
    assert overlay.ran() == ["one"]


async def test_a_build_that_a_quota_does_not_let_the_cluster_remember_is_refused_with_that_reason(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    overlay.step("one")
    document = {"name": "a", "os_type": "linux", "base_iso_url": "https://images.example/base.qcow2"}
    async with quota(real, admin.namespace, count__secrets="0"):
        status, body = await rest.call("POST", IMAGES, json=document)
        assert status == 503
        assert "cannot be recorded in the cluster: " in body["error"]
        assert "exceeded quota: tight" in body["error"]
        _ = [status async for status in rest.statuses("a")]
        assert (await rest.get(IMAGES))["count"] == 0
        assert await admin.list("ConfigMap", labels=OURS) == []
    await rest.create("a")
    assert (await rest.end("a"))["status"] == "ready"


@pytest.mark.parametrize(("what", "limit"), [("count__jobs_batch", "0"), ("count__secrets", "1")])
async def test_a_quota_that_stays_exceeded_fails_the_build_with_that_reason(
    rest: Rest,
    overlay: Overlay,
    admin: Kube,
    real: ControlPlane,
    what: str,
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "REFUSED_SECONDS", 3.0)
    overlay.step("one", manifests=["ssh-keys.yaml"], needs_vm=True)
    async with quota(real, admin.namespace, **{what: limit}):
        await rest.create("a")
        assert "exceeded quota: tight" in await failed(rest)
        assert overlay.ran() == []
        await nothing_is_left(admin)


async def test_a_disk_that_the_quota_has_no_room_for_says_so_and_is_made_when_there_is(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    overlay.use("download_iso")
    async with quota(real, admin.namespace, persistentvolumeclaims="1"):  # the installation's own
        await rest.create("a", base_iso_url=boot_disk(overlay.folder, "", HANG).as_uri(), storage_size="1Mi")
        await rest.log_line("a", "download_iso", "exceeded quota: tight")
    assert (await rest.end("a"))["status"] == "ready"


async def test_a_disk_that_never_gets_room_fails_the_build_with_that_reason(
    cluster: Cluster, settings: Settings, overlay: Overlay, admin: Kube, real: ControlPlane
) -> None:
    impatient = replace(settings, cluster=replace(settings.cluster, pending_timeout_seconds=8))
    overlay.use("download_iso")
    async with (
        running(impatient, kubeconfig=cluster.kubeconfig) as service,
        aiohttp.ClientSession() as session,
        quota(real, admin.namespace, requests_storage="10Gi"),
    ):
        rest = Rest(service.address, session)
        await rest.create("a", base_iso_url=boot_disk(overlay.folder, "", HANG).as_uri(), storage_size="1Mi")
        message = await failed(rest)
    assert "did not begin within 8" in message
    assert "exceeded quota: tight" in message
    await only_jobs_are_left(admin)
