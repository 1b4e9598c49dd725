"""Exports of disks: only with the token, only when the disk is at rest, only while the export exists."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from goldenpipe_kube import Kube, Object
from support.guests import HANG, POWER_OFF, a_machine, a_volume, boot_disk
from support.pods import in_phase
from support.watching import until, until_gone

pytestmark = pytest.mark.usefixtures("agent")


def an_export(**spec: Any) -> Object:
    return {
        "apiVersion": "export.kubevirt.io/v1beta1",
        "kind": "VirtualMachineExport",
        "metadata": {"name": "out"},
        "spec": {
            "tokenSecretRef": "out-token",
            "source": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "root"},
            **spec,
        },
    }


async def make_disk(kube: Kube, folder: Path, then: bytes = POWER_OFF) -> None:
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "out-token"}, "stringData": {"token": "sesame"}}
    await kube.create(token)
    await kube.create(a_volume(boot_disk(folder, "up\r\n", then).as_uri()))
    await until(kube, "DataVolume", in_phase("Succeeded"))


async def download(export: Object, token: str) -> tuple[int, bytes]:
    links = export["status"]["links"]["internal"]
    # the certificate in the status is all that a client needs to trust the node
    context = ssl.create_default_context(cadata=links["cert"])
    url = links["volumes"][0]["formats"][0]["url"]
    headers = {"x-kubevirt-export-token": token}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=context) as answer:
        return answer.status, await answer.read()


def raw(image: bytes, folder: Path) -> bytes:
    (folder / "export.qcow2").write_bytes(image)
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", folder / "export.qcow2", folder / "export.raw"]
    subprocess.run(command, check=True)
    return (folder / "export.raw").read_bytes()


async def test_a_disk_at_rest_is_exported_whole(kube: Kube, tmp_path: Path) -> None:
    await make_disk(kube, tmp_path)
    await kube.create(an_export())
    export = await until(kube, "VirtualMachineExport", in_phase("Ready"))
    assert export["status"]["links"]["internal"]["volumes"][0]["name"] == "root"
    status, image = await download(export, "sesame")
    assert status == 200
    disk = tmp_path / "cluster" / "volumes" / "root" / "disk.qcow2"
    assert raw(image, tmp_path) == raw(disk.read_bytes(), tmp_path)


async def test_nobody_gets_a_disk_without_its_token(kube: Kube, tmp_path: Path) -> None:
    await make_disk(kube, tmp_path)
    await kube.create(an_export())
    export = await until(kube, "VirtualMachineExport", in_phase("Ready"))
    for token in ("", "wrong", "sesam"):
        status, image = await download(export, token)
        assert status == 401
        assert b"QFI" not in image


async def test_an_export_waits_until_the_machine_is_off(kube: Kube, tmp_path: Path) -> None:
    await make_disk(kube, tmp_path, HANG)
    await kube.create(a_machine(strategy="Once", grace=0))
    await until(kube, "VirtualMachineInstance", in_phase("Running"), seconds=30)
    await kube.create(an_export())
    export = await until(kube, "VirtualMachineExport", in_phase("Pending"))
    assert export["status"]["conditions"][0]["message"] == "pvc root is in use"
    await kube.delete("VirtualMachine", "vm")
    await until(kube, "VirtualMachineExport", in_phase("Ready"))


async def test_deleting_an_export_removes_its_file(kube: Kube, tmp_path: Path) -> None:
    await make_disk(kube, tmp_path)
    await kube.create(an_export())
    export = await until(kube, "VirtualMachineExport", in_phase("Ready"))
    folder = tmp_path / "cluster" / "exports"
    assert [path.name for path in folder.rglob("*.qcow2")] == ["disk.qcow2"]
    await kube.delete("VirtualMachineExport", "out")
    await until_gone(kube, "VirtualMachineExport", "out")
    status, _ = await download(export, "sesame")
    assert status == 401


async def test_an_export_ends_with_its_time_to_live(kube: Kube, tmp_path: Path) -> None:
    await make_disk(kube, tmp_path)
    await kube.create(an_export(ttlDuration="1s"))
    await until_gone(kube, "VirtualMachineExport", "out")
