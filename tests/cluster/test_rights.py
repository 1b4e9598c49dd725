"""The service's Role: each right is used, and none is missing. The API server's audit log is the witness."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from goldenpipe_kube import Kube
from support.controlplane import SERVICE, ControlPlane, objects_of
from support.controlplane.audit import asked, rights_in
from support.controlplane.refusals import quota
from support.guests import HANG, boot_disk
from support.isos import UBUNTU_SERVER, make_iso
from support.rest import Rest
from support.templates import Overlay
from support.watching import until_gone

pytestmark = pytest.mark.cluster
IMAGES = "/api/v1/images"


async def test_the_service_makes_use_of_every_right_it_has_and_misses_none(
    rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane, tmp_path: Path
) -> None:
    disk = boot_disk(tmp_path, "up\n", HANG)
    await an_image_comes_and_goes(rest, overlay, admin, disk)
    await a_step_cannot_start(rest, overlay, admin, real)
    await a_build_fails_with_its_machine_on(rest, overlay, admin, disk)
    await a_build_loses_its_machine(rest, overlay, admin, disk)
    await an_iso_is_prepared(rest, overlay, admin, tmp_path)
    (role,) = [obj for obj in objects_of() if (obj["kind"], obj["metadata"]["name"]) == ("Role", SERVICE)]
    did = asked(real.audit_log, admin.namespace, SERVICE)
    assert did.refused == set()
    assert rights_in(role) - did.used == set()


async def an_image_comes_and_goes(rest: Rest, overlay: Overlay, admin: Kube, disk: Path) -> None:
    overlay.use("download_iso", "publish_image")
    await rest.create("good", base_iso_url=disk.as_uri(), storage_size="1Mi")
    status = await rest.end("good")
    assert status["status"] == "ready", status["error"]
    async with rest.session.get(f"{rest.address}{IMAGES}/good/export") as answer:
        assert answer.status == 200
        await answer.read()
    # some CDIs remove a DataVolume that is done, and its claim stays: the service must take that away by itself
    await admin.delete("DataVolume", "golden-image-good", propagation="Orphan")
    await until_gone(admin, "DataVolume", "golden-image-good")
    await rest.call("DELETE", f"{IMAGES}/good")
    _ = [status async for status in rest.statuses("good")]
    assert await admin.find("PersistentVolumeClaim", "golden-image-good") is None


async def a_step_cannot_start(rest: Rest, overlay: Overlay, admin: Kube, real: ControlPlane) -> None:
    overlay.clear().step("one")
    async with quota(real, admin.namespace, pods="0"):
        await rest.create("late")
        async for status in rest.statuses("late"):
            if "exceeded quota" in status["message"]:
                break
    assert (await rest.end("late"))["status"] == "ready"


async def a_build_fails_with_its_machine_on(rest: Rest, overlay: Overlay, admin: Kube, disk: Path) -> None:
    overlay.clear().boot().step("work", "exit 20", needs_vm=True)
    await rest.create("worse", base_iso_url=disk.as_uri(), storage_size="1Mi", memory="128Mi", cpu=1)
    assert (await rest.end("worse"))["error"]["step"] == "work"
    assert await admin.list("VirtualMachine", labels="goldenpipe.io/image=worse") == []


async def a_build_loses_its_machine(rest: Rest, overlay: Overlay, admin: Kube, disk: Path) -> None:
    overlay.clear().boot().step("work", f"read _ < {overlay.gate('never')}", needs_vm=True)
    await rest.create("bad", base_iso_url=disk.as_uri(), storage_size="1Mi", memory="128Mi", cpu=1)
    async for status in rest.statuses("bad"):
        if status["steps"][-1]["status"] == "in_progress":
            break
    (vm,) = await admin.list("VirtualMachine", labels="goldenpipe.io/image=bad")
    name = vm["metadata"]["name"]
    # its instance stays, and nobody but the service ends it
    await asyncio.gather(admin.delete("VirtualMachine", name, propagation="Orphan"), rest.end("bad"))
    assert "deleted while the build ran" in (await rest.get(f"{IMAGES}/bad"))["error"]["message"]
    assert await admin.list("VirtualMachineInstance", labels="goldenpipe.io/image=bad") == []


async def an_iso_is_prepared(rest: Rest, overlay: Overlay, admin: Kube, folder: Path) -> None:
    overlay.clear().use("download_iso", "inspect_iso", "prepare_iso")
    iso = make_iso(folder / "an.iso", UBUNTU_SERVER, folder / "tree")
    await rest.create("installed", base_iso_url=iso.as_uri())
    status = await rest.end("installed")
    assert status["status"] == "ready", status["error"]
    (claim,) = await admin.list("PersistentVolumeClaim", labels="goldenpipe.io/cache=iso")
    await admin.delete("PersistentVolumeClaim", claim["metadata"]["name"])
