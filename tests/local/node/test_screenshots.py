"""What a machine shows, as a picture over the subresource that KubeVirt has for it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from goldenpipe_kube import Conflict, Forbidden, Kube, NotFound
from goldenpipe_local.api import ApiServer
from support.guests import HANG, POWER_OFF, a_machine, a_volume, boot_disk
from support.watching import until

pytestmark = pytest.mark.usefixtures("agent")

PNG = b"\x89PNG\r\n\x1a\n"


async def run(kube: Kube, folder: Path, then: bytes, phase: str) -> None:
    await kube.create(a_volume(boot_disk(folder, "up\r\n", then).as_uri()))
    await kube.create(a_machine(strategy="Once"))
    await until(kube, "VirtualMachineInstance", lambda vmi: vmi.get("status", {}).get("phase") == phase, name="vm")


async def test_a_running_machines_screen_is_a_png_with_what_its_firmware_wrote(kube: Kube, tmp_path: Path) -> None:
    await run(kube, tmp_path, HANG, "Running")
    picture = await kube.screenshot("vm")
    assert picture.startswith(PNG)
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) >= (320, 200)
    length = struct.unpack(">I", picture[picture.index(b"IDAT") - 4 : picture.index(b"IDAT")])[0]
    begin = picture.index(b"IDAT") + 4
    pixels = zlib.decompressobj().decompress(picture[begin : begin + length])
    assert len(set(pixels)) > 1, "the screen is not all black"
    [folder] = (tmp_path / "cluster" / "vms").iterdir()
    assert not (folder / "screen.png").exists()


async def test_a_machine_that_does_not_run_has_no_screen(kube: Kube, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not found"):
        await kube.screenshot("vm")
    await run(kube, tmp_path, POWER_OFF, "Succeeded")
    with pytest.raises(Conflict, match="VMI is not running"):
        await kube.screenshot("vm")


async def test_steps_may_look_at_the_screen_and_the_job_controller_may_not(
    local_api: ApiServer, kube: Kube, tmp_path: Path
) -> None:
    await run(kube, tmp_path, HANG, "Running")
    async with await Kube.connect(local_api.kubeconfig_of("goldenpipe-step")) as step:
        assert (await step.screenshot("vm")).startswith(PNG)
    async with await Kube.connect(local_api.kubeconfig_of("jobs")) as jobs:
        with pytest.raises(Forbidden, match="virtualmachineinstances/vnc"):
            await jobs.screenshot("vm")
