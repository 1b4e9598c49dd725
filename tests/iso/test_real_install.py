"""Debian's own installer, on an ISO made of Debian's packages, through the whole pipeline to an image that boots."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import ClusterSettings, Settings
from goldenpipe_kube import Kube
from goldenpipe_local.base_image import find_sources
from goldenpipe_local.cluster import LocalCluster
from support import debian_installer
from support.disks import Disk
from support.guests import a_machine
from support.rest import Object, Rest
from support.watching import until

pytestmark = [
    pytest.mark.iso,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]
NAME = "debian-from-iso"
INSTALL_SECONDS = 90 * 60
BOOT_SECONDS = 600.0


async def mirrors() -> dict[str, str]:
    """Those of this machine's own apt, under the names of the setting `install_mirrors`."""
    kinds = {debian_installer.CODENAME: "debian", f"{debian_installer.CODENAME}-security": "debian-security"}
    found = await find_sources(debian_installer.CODENAME)
    return {kinds[source.suite]: source.uri for source in found if source.suite in kinds}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(tmp_path / "data") as started:
        yield started


@pytest.fixture
async def rest(cluster: LocalCluster, tmp_path: Path) -> AsyncIterator[Rest]:
    known = ClusterSettings(install_mirrors=await mirrors(), install_stall_seconds=1800, ssh_timeout_seconds=900)
    settings = Settings(data_dir=tmp_path / "data", port=0, cluster=known)
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


async def test_debians_installer_makes_a_golden_image_that_boots(
    cluster: LocalCluster, rest: Rest, tmp_path: Path
) -> None:
    iso = await debian_installer.make_iso(tmp_path / "iso")
    digest = await asyncio.to_thread(lambda: hashlib.sha256(iso.read_bytes()).hexdigest())
    request: Object = {
        "base_iso_url": iso.as_uri(),
        "base_checksum": f"sha256:{digest}",
        "storage_size": "4Gi",
        "memory": "1Gi",
        "cpu": 2,
        "customizations": {"packages": ["tree"], "files": {"/etc/motd": "Installed from an ISO.\n"}},
    }
    await rest.create(NAME, **request)
    shown: list[int] = []
    async for status in rest.statuses(NAME, seconds=INSTALL_SECONDS):
        if not shown or shown[-1] != status["progress"]:
            print(f"{status['progress']:3d}% {status['message']}", flush=True)
        shown.append(status["progress"])
    print(await rest.text(f"/api/v1/images/{NAME}/steps/install_os/logs"))
    assert status["status"] == "ready", status["error"]
    assert len(set(shown)) > 20, "progress hardly moved"
    names = [step["name"] for step in status["steps"] if step["status"] == "completed"]
    assert names[:4] == ["download_iso", "inspect_iso", "prepare_iso", "install_os"]
    await from_outside(rest, tmp_path)
    async with await Kube.connect(cluster.kubeconfig) as kube:
        await a_copy_boots(kube)


async def from_outside(rest: Rest, folder: Path) -> None:
    out = folder / "out.qcow2"
    async with rest.session.get(f"{rest.address}/api/v1/images/{NAME}/export") as answer:
        assert answer.status == 200
        out.write_bytes(await answer.read())
    disk = Disk(out, folder)
    assert f"VERSION_CODENAME={debian_installer.CODENAME}" in (disk.read("/etc/os-release") or "")
    assert disk.read("/etc/motd") == "Installed from an ISO.\n"
    assert "tree" in disk.names("/usr/bin")
    assert "goldenpipe" not in (disk.read("/etc/passwd") or "")
    shadow = {line.split(":")[0]: line.split(":")[1] for line in (disk.read("/etc/shadow") or "").splitlines()}
    assert not [name for name, password in shadow.items() if password.startswith("$")], "nobody may log in by password"
    assert disk.read("/etc/machine-id") in ("", "uninitialized\n")
    assert not {name for name in disk.names("/etc/ssh") if name.startswith("ssh_host_")}
    assert "iface" not in (disk.read("/etc/network/interfaces") or "")


async def a_copy_boots(kube: Kube) -> None:
    """A clone of the image, with nothing but a disk: its serial console shows a login prompt."""
    clone: Object = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "copy"},
        "spec": {"sourceRef": {"kind": "DataSource", "name": NAME}, "storage": {}},
    }
    await kube.create(clone)
    await until(kube, "DataVolume", lambda dv: dv.get("status", {}).get("phase") == "Succeeded", name="copy")
    machine = a_machine("copy", disk="copy", strategy="Once", grace=0)
    domain = machine["spec"]["template"]["spec"]["domain"]
    domain["memory"] = {"guest": "1Gi"}
    domain["devices"]["logSerialConsole"] = True
    await kube.create(machine)
    vmi = await until(
        kube, "VirtualMachineInstance", lambda vmi: vmi.get("status", {}).get("phase") == "Running", name="copy"
    )
    (pod,) = await kube.list("Pod", labels=f"kubevirt.io/created-by={vmi['metadata']['uid']}")
    console = b""
    async with asyncio.timeout(BOOT_SECONDS):
        async for chunk in kube.logs(pod["metadata"]["name"], follow=True):
            console += chunk
            if b"login: " in console:
                break
    assert b"login: " in console, console[-2000:].decode(errors="replace")
    await kube.delete("VirtualMachine", "copy", grace_seconds=0)
