"""What happens to a build when something happens to its VM or its download: the real steps, real QEMU, tiny guests."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from goldenpipe.service import running
from goldenpipe.settings import ClusterSettings, Settings
from goldenpipe_kube import Kube
from support.controlplane import Cluster
from support.guests import HANG, POWER_OFF, boot_disk
from support.rest import Object, Rest
from support.templates import Overlay

pytestmark = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")

IMAGES = "/api/v1/images"
SSH_SECONDS = 4


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay")


@pytest.fixture
def cluster_settings() -> ClusterSettings:
    return ClusterSettings(ssh_timeout_seconds=SSH_SECONDS)


@pytest.fixture
async def rest(
    cluster: Cluster, tmp_path: Path, overlay: Overlay, cluster_settings: ClusterSettings
) -> AsyncIterator[Rest]:
    settings = Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,), cluster=cluster_settings)
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    async with await Kube.connect(cluster.admin) as client:
        yield client


def booted(overlay: Overlay) -> Overlay:
    """Up to a step that works in the VM for ever."""
    return overlay.boot().step("work", f"echo at work; read _ < {overlay.gate('never')}", needs_vm=True)


async def create(rest: Rest, disk: Path, **changes: object) -> None:
    small = {"storage_size": "1Mi", "memory": "128Mi", "cpu": 1}
    await rest.create("a", base_iso_url=disk.as_uri(), **{**small, **changes})


async def at_work(rest: Rest) -> None:
    async for status in rest.statuses("a"):
        if status["steps"][-1]["status"] == "in_progress":
            break
    async with rest.session.get(f"{rest.address}{IMAGES}/a/steps/work/logs?follow=true") as answer:
        assert await answer.content.readline() == b"at work\n"


async def nothing_is_left(kube: Kube, folder: Path) -> None:
    kinds = ("VirtualMachine", "VirtualMachineInstance", "DataVolume", "PersistentVolumeClaim", "Secret", "DataSource")
    for kind in kinds:
        assert await kube.list(kind, labels="goldenpipe.io/build,!goldenpipe.io/record") == [], kind
    # on a control plane the claim of the installation stays
    assert not list((folder / "data/cluster/volumes").glob("golden-image-*"))
    assert qemu_processes(folder) == []


def qemu_processes(folder: Path) -> list[int]:
    found = subprocess.run(["pgrep", "-f", f"qemu-system.*{folder}"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


async def test_a_killed_qemu_fails_the_build_that_works_in_it(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    booted(overlay)
    await create(rest, boot_disk(tmp_path, "up\n", HANG))
    await at_work(rest)
    (process,) = qemu_processes(tmp_path)
    os.kill(process, signal.SIGKILL)
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert "the build VM failed" in status["error"]["message"]
    assert status["error"]["step"] == "work"
    assert "at work" in await rest.text(f"{IMAGES}/a/steps/work/logs")
    await nothing_is_left(kube, tmp_path)


async def test_the_last_screen_of_a_failed_build_is_kept_until_the_image_is_deleted(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    gate = overlay.gate("go")
    booted(overlay).step("work", f"echo at work; read _ < {gate}; exit 20", needs_vm=True)
    await create(rest, boot_disk(tmp_path, "up\n", HANG))
    await at_work(rest)
    running = await picture(rest)
    await asyncio.to_thread(gate.open)
    assert (await rest.end("a"))["status"] == "failed"
    await nothing_is_left(kube, tmp_path)
    assert (await picture(rest))[:_PNG_SIZE] == running[:_PNG_SIZE]  # the same screen, but its cursor blinks
    assert (await rest.call("DELETE", f"{IMAGES}/a"))[0] == 200
    await rest.end("a")
    assert (await rest.call("GET", f"{IMAGES}/a/screenshot"))[0] == 404
    assert not list((tmp_path / "data/screenshots").iterdir())


_PNG_SIZE = 24
"""Signature, and a header up to width and height."""


async def picture(rest: Rest) -> bytes:
    async with rest.session.get(f"{rest.address}{IMAGES}/a/screenshot") as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
        found = await answer.read()
        assert found.startswith(b"\x89PNG")
        return found


async def test_a_build_that_failed_without_a_vm_says_that_it_has_no_screenshot(rest: Rest, overlay: Overlay) -> None:
    overlay.step("work", "exit 20")
    await rest.create("a")
    assert (await rest.end("a"))["status"] == "failed"
    status, document = await rest.call("GET", f"{IMAGES}/a/screenshot")
    assert status == 404
    assert "no VM ran when its build failed" in document["error"]


async def test_deleting_the_build_vm_fails_the_build_with_that_reason(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    booted(overlay)
    await create(rest, boot_disk(tmp_path, "up\n", HANG))
    await at_work(rest)
    (vm,) = (await rest.get("/api/v1/vms"))["vms"]
    assert vm["image_name"] == "a"
    assert vm["status"] == "running"
    assert (vm["cpu"], vm["memory"]) == (1, "128Mi")
    assert vm["labels"] == {"goldenpipe.io/purpose": "image-creation"}
    assert await rest.get(f"/api/v1/vms/{vm['name']}") == vm
    assert await rest.call("DELETE", f"/api/v1/vms/{vm['name']}") == (200, {"message": "VM deletion started"})
    status = await rest.end("a")
    assert status["error"]["message"] == "the build VM was deleted while the build ran"
    await nothing_is_left(kube, tmp_path)


async def test_a_guest_that_powers_off_too_early_fails_the_build(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    booted(overlay)
    await create(rest, boot_disk(tmp_path, "up\n", POWER_OFF))
    status = await rest.end("a")
    assert "powered off before" in status["error"]["message"]
    await nothing_is_left(kube, tmp_path)


async def test_deleting_an_image_ends_its_vm_and_frees_its_disk(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    booted(overlay)
    await create(rest, boot_disk(tmp_path, "up\n", HANG))
    await at_work(rest)
    await rest.call("DELETE", f"{IMAGES}/a")
    _ = [status async for status in rest.statuses("a")]
    assert (await rest.call("GET", f"{IMAGES}/a"))[0] == 404
    await nothing_is_left(kube, tmp_path)
    assert await kube.list("Job") == []


@pytest.mark.parametrize(
    "cluster_settings",
    [ClusterSettings(ssh_timeout_seconds=1, storage_class="goldenpipe-local-wait", immediate_binding=False)],
)
async def test_a_disk_on_storage_that_waits_for_the_vm_is_filled_when_the_vm_starts(
    rest: Rest, overlay: Overlay, tmp_path: Path
) -> None:
    overlay.use("download_iso", "create_vm")
    await create(rest, boot_disk(tmp_path, "booted from it\n", HANG))
    status = await rest.end("a")
    download, create_vm = status["steps"]
    assert (download["status"], download["message"]) == ("completed", "The download begins when the VM starts")
    # this guest has no SSH server, so all else has gone well
    assert "did not answer by SSH" in status["error"]["message"]
    assert "booted from it" in status["error"]["message"]
    assert create_vm["status"] == "failed"


async def test_a_guest_that_never_answers_ssh_fails_in_time_with_its_last_words(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    overlay.use("download_iso", "create_vm")
    await create(rest, boot_disk(tmp_path, "No bootable operating system\n", HANG))
    status = await rest.end("a")
    assert status["error"]["step"] == "create_vm"
    assert "SSH" in status["error"]["message"]
    assert "No bootable operating system" in await rest.text(f"{IMAGES}/a/steps/create_vm/logs")
    await nothing_is_left(kube, tmp_path)


async def test_a_kernel_panic_is_the_reason_that_is_told(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    overlay.use("download_iso", "create_vm")
    panic = "Kernel panic - not syncing: VFS: Unable to mount root fs"
    await create(rest, boot_disk(tmp_path, f"{panic}\n", HANG))
    status = await rest.end("a")
    assert panic in status["error"]["message"]
    await nothing_is_left(kube, tmp_path)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[str]:
    """A web server with a disk, a text and a web page."""
    disk = boot_disk(tmp_path, "up\n", HANG)

    async def send(_: web.Request) -> web.FileResponse:
        return web.FileResponse(disk)

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Please log in</html>", content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/disk.qcow2", send), web.get("/page.qcow2", page)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [
        ("/missing.qcow2", {}, "404"),
        ("/page.qcow2", {}, "web page"),
        ("/disk.qcow2", {"base_checksum": "sha256:" + "0" * 64}, "checksum"),
        ("/disk.qcow2", {"storage_size": "1Mi"}, None),
    ],
)
async def test_what_is_wrong_with_a_download_is_told_in_words(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path, site: str, path: str, changes: Object, words: str | None
) -> None:
    overlay.use("download_iso")
    await rest.create("a", base_iso_url=site + path, **changes)
    status = await rest.end("a")
    if words is None:
        assert status["status"] == "ready", status
        return
    assert status["status"] == "failed"
    assert words in status["error"]["message"].lower()
    assert status["error"]["hint"]
    await nothing_is_left(kube, tmp_path)


def empty_disk(path: Path, size: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, size], check=True)
    return path


async def test_a_disk_larger_than_asked_for_is_refused_with_both_sizes(
    rest: Rest, overlay: Overlay, tmp_path: Path
) -> None:
    overlay.use("download_iso")
    await create(rest, empty_disk(tmp_path / "big.qcow2", "3G"), storage_size="2Gi")
    status = await rest.end("a")
    assert "2Gi" in status["error"]["message"] + status["error"]["hint"]
    assert "storage_size" in status["error"]["message"] + status["error"]["hint"]


async def test_a_server_that_nobody_runs_is_an_error_within_a_bound(
    rest: Rest, overlay: Overlay, unused_tcp_port: int
) -> None:
    overlay.use("download_iso")
    async with asyncio.timeout(110):
        await rest.create("a", base_iso_url=f"http://127.0.0.1:{unused_tcp_port}/a.qcow2")
        status = await rest.end("a", seconds=100)
    assert status["status"] == "failed"
    assert "127.0.0.1" in status["error"]["message"]
