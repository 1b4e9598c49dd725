"""One real build: a real Debian under QEMU, from the request to the sealed disk, which is looked at from outside."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncssh
import pytest

from goldenpipe.service import running
from goldenpipe.settings import ClusterSettings, Settings
from goldenpipe_kube import Kube
from goldenpipe_local import base_image
from support.controlplane import Cluster
from support.disks import Disk
from support.rest import Object, Rest

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
    pytest.mark.skipif(bool(base_image.missing_tools()), reason="tools for the base disk are not installed"),
]
PASSWORD = "correct-horse-battery-staple"
BUILD_SECONDS = 900
KEY = asyncssh.generate_private_key("ssh-ed25519", comment="ops@example").export_public_key().decode().strip()


@pytest.fixture(scope="module")
def base_disk() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "goldenpipe"
    return asyncio.run(base_image.cached("debian-12", cache, say=print))


def request(base_disk: Path) -> Object:
    return {
        "storage_size": "6Gi",
        "memory": "1Gi",
        "base_iso_url": base_disk.as_uri(),
        "customizations": {
            "packages": ["tree"],
            "scripts": ["set-timezone-utc.sh", "#!/bin/sh\necho built by $(id -un) > /etc/built-by\n"],
            "files": {"/etc/motd": "Welcome to GoldenPipe!\n", "/opt/new/folder/file.txt": "deep\n"},
            "users": [
                {"name": "admin", "password": PASSWORD, "groups": ["sudo", "newgroup"], "sudo": True},
                {"name": "robot", "sudo": True},
            ],
            "ssh_keys": [KEY],
        },
        "labels": {"environment": "test"},
    }


@pytest.fixture
async def rest(cluster: Cluster, tmp_path: Path) -> AsyncIterator[tuple[Rest, Kube]]:
    # an emulated guest beside other tests boots slowly
    settings = Settings(data_dir=tmp_path / "data", port=0, cluster=ClusterSettings(ssh_timeout_seconds=600))
    async with (
        running(settings, kubeconfig=cluster.kubeconfig) as service,
        aiohttp.ClientSession() as session,
        await Kube.connect(cluster.admin) as kube,
    ):
        yield Rest(service.address, session), kube


async def test_a_request_becomes_a_sealed_golden_image(
    rest: tuple[Rest, Kube], base_disk: Path, tmp_path: Path
) -> None:
    api, kube = rest
    await api.create("debian-12.golden", **request(base_disk))
    shown: list[int] = []
    vm_seen = False
    async for status in api.statuses("debian-12.golden", seconds=BUILD_SECONDS):
        shown.append(status["progress"])
        vm_seen = vm_seen or any(vm["status"] == "running" for vm in (await api.get("/api/v1/vms"))["vms"])
    assert status["status"] == "ready", status["error"]
    assert shown == sorted(shown)
    assert len(set(shown)) > 15, "progress hardly moved"
    assert vm_seen
    await nothing_is_left(api, kube)
    await secrets_are_nowhere(api, kube, tmp_path)
    out = tmp_path / "out.qcow2"
    async with api.session.get(f"{api.address}/api/v1/images/debian-12.golden/export") as answer:
        assert answer.status == 200
        out.write_bytes(await answer.read())
    disk = Disk(out, tmp_path)
    customized(disk)
    sealed(disk)


async def nothing_is_left(api: Rest, kube: Kube) -> None:
    assert (await api.get("/api/v1/vms"))["count"] == 0
    for kind in ("VirtualMachine", "VirtualMachineInstance", "Secret", "VirtualMachineExport"):
        assert await kube.list(kind, labels="goldenpipe.io/build,!goldenpipe.io/record") == [], kind
    assert len(await kube.list("Job", labels="goldenpipe.io/image=debian-12.golden")) == 9
    image = await api.get("/api/v1/images/debian-12.golden")
    assert image["size"].endswith("Mi")
    assert image["progress"] == 100


async def secrets_are_nowhere(api: Rest, kube: Kube, folder: Path) -> None:
    """The password is in no file of the service or the cluster, its hash in no Job, log or answer."""
    steps = [job["metadata"]["labels"]["goldenpipe.io/step"] for job in await kube.list("Job")]
    told = [await api.text(f"/api/v1/images/debian-12.golden/steps/{step}/logs") for step in steps]
    told.append(json.dumps(await kube.list("Job")))
    assert "$6$" not in "".join(told)
    for path in (folder / "data").rglob("*"):
        if path.is_file() and path.suffix != ".qcow2":
            assert PASSWORD.encode() not in path.read_bytes(), path


def customized(disk: Disk) -> None:
    assert disk.read("/etc/motd") == "Welcome to GoldenPipe!\n"
    assert disk.read("/opt/new/folder/file.txt") == "deep\n"
    assert disk.read("/etc/built-by") == "built by root\n"
    assert "tree" in disk.names("/usr/bin")
    users = {line.split(":")[0]: line.split(":") for line in (disk.read("/etc/passwd") or "").splitlines()}
    groups = {line.split(":")[0]: line.split(":")[3] for line in (disk.read("/etc/group") or "").splitlines()}
    shadow = {line.split(":")[0]: line.split(":")[1] for line in (disk.read("/etc/shadow") or "").splitlines()}
    assert {"admin", "robot"} <= users.keys()
    assert "admin" in groups["sudo"].split(",")
    assert "admin" in groups["newgroup"].split(",")
    assert shadow["admin"].startswith("$6$")
    assert not shadow["robot"].startswith("$")
    sudoers = {name: disk.read(f"/etc/sudoers.d/{name}") or "" for name in disk.names("/etc/sudoers.d")}
    grants = [line for text in sudoers.values() for line in text.splitlines() if line[:1] not in ("", "#")]
    assert any(line.startswith("robot") and "NOPASSWD" in line for line in grants)
    assert not any(line.startswith("admin") and "NOPASSWD" in line for line in grants)
    for user in ("admin", "robot"):
        keys = f"/home/{user}/.ssh/authorized_keys"
        assert KEY in (disk.read(keys) or "")
        assert disk.mode(keys) == (0o600, int(users[user][2]), int(users[user][3]))


def sealed(disk: Disk) -> None:
    assert disk.read("/etc/machine-id") in ("", "uninitialized\n")
    assert not {name for name in disk.names("/etc/ssh") if name.startswith("ssh_host_")}
    assert "goldenpipe" not in (disk.read("/etc/passwd") or "")
    assert "goldenpipe" not in (disk.read("/etc/shadow") or "")
    assert "goldenpipe" not in disk.names("/home")
    assert "goldenpipe" not in disk.names("/var/lib")
    assert "instance" not in disk.names("/var/lib/cloud")
    assert not {name for name in disk.names("/var/lib/apt/lists") if name.endswith("Packages")}
    assert "golden" not in (disk.read("/etc/hostname") or "")
    assert not {name for name in disk.names("/root") if name.endswith("_history")}
    assert not disk.read("/var/log/cloud-init.log")
    assert not disk.read("/var/log/auth.log")
    assert not [
        name for name in disk.names("/etc/sudoers.d") if "goldenpipe" in (disk.read(f"/etc/sudoers.d/{name}") or "")
    ]
