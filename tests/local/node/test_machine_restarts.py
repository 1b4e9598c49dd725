"""Machines and an agent that is stopped and started again."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from goldenpipe_kube import Kube, Object
from goldenpipe_local.node import NodeAgent
from goldenpipe_local.node.inotify import FolderWatch
from goldenpipe_local.node.vms import monitor
from goldenpipe_local.node.vms.process import recorded
from support.guests import HANG, POWER_OFF, WAIT_FOR_BUTTON, a_machine, a_volume, boot_disk
from support.pods import in_phase
from support.watching import until

StartAgent = Callable[[], AbstractAsyncContextManager[NodeAgent]]

SECONDS = 30.0


async def running(kube: Kube, folder: Path, then: bytes) -> Object:
    await kube.create(a_volume(boot_disk(folder, "up\r\n", then).as_uri()))
    await until(kube, "DataVolume", in_phase("Succeeded"))
    await kube.create(a_machine(strategy="Once", grace=1))
    return await until(kube, "VirtualMachineInstance", in_phase("Running", "Succeeded"), seconds=SECONDS)


def folder_of(tmp_path: Path, vmi: Object) -> Path:
    return tmp_path / "cluster" / "vms" / str(vmi["metadata"]["uid"])


async def spoken(tmp_path: Path, vmi: Object) -> None:
    """The guest has written its line, and so has come to what it does after."""
    serial = folder_of(tmp_path, vmi) / "serial.log"
    with FolderWatch(serial.parent) as watch:
        async with asyncio.timeout(SECONDS):
            while b"up" not in serial.read_bytes():
                await watch.changed()


async def test_a_machine_runs_on_without_the_agent_and_is_found_again(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    async with start_agent():
        vmi = await running(kube, tmp_path, HANG)
        folder = folder_of(tmp_path, vmi)
        qemu = recorded(folder)
    assert qemu is not None
    assert qemu.is_alive()
    async with start_agent():
        again = await kube.get("VirtualMachineInstance", "vm")
        assert again["status"]["phase"] == "Running"
        assert again["metadata"]["annotations"] == vmi["metadata"]["annotations"]
        await kube.delete("VirtualMachine", "vm")
        await until(kube, "VirtualMachineInstance", in_phase("Failed"), seconds=SECONDS)
    assert not qemu.is_alive()


async def test_a_power_off_that_nobody_saw_is_still_a_clean_end(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    async with start_agent():
        vmi = await running(kube, tmp_path, WAIT_FOR_BUTTON)
        await spoken(tmp_path, vmi)
    async with asyncio.timeout(SECONDS), monitor.connected(folder_of(tmp_path, vmi)) as qmp:
        await qmp.press_power_button()
        while await qmp.state() != "shutdown":
            await qmp.next_state()
    async with start_agent():
        ended = await until(kube, "VirtualMachineInstance", in_phase("Succeeded", "Failed"), seconds=SECONDS)
    assert ended["status"]["phase"] == "Succeeded"


async def test_a_qemu_that_died_while_the_agent_was_down_is_a_failure(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    async with start_agent():
        vmi = await running(kube, tmp_path, HANG)
    qemu = recorded(folder_of(tmp_path, vmi))
    assert qemu is not None
    qemu.send_signal(signal.SIGKILL)
    await qemu.ended()
    async with start_agent():
        ended = await until(kube, "VirtualMachineInstance", in_phase("Succeeded", "Failed"), seconds=SECONDS)
    assert ended["status"]["phase"] == "Failed"


async def test_a_machine_whose_objects_went_away_while_the_agent_was_down_is_ended(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    async with start_agent():
        vmi = await running(kube, tmp_path, HANG)
    folder = folder_of(tmp_path, vmi)
    qemu = recorded(folder)
    for kind in ("VirtualMachine", "VirtualMachineInstance"):
        await kube.patch(kind, "vm", {"metadata": {"finalizers": None}})
        await kube.delete(kind, "vm")
    async with start_agent():
        assert not folder.exists()
    assert qemu is not None
    async with asyncio.timeout(SECONDS):
        await qemu.ended()


async def test_an_import_that_was_cut_off_starts_again_from_a_clean_folder(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    source = boot_disk(tmp_path, "up\r\n", POWER_OFF)
    leftover = tmp_path / "cluster" / "volumes" / "root" / "import" / "download"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half of it")
    await kube.create(a_volume(source.as_uri()))
    async with start_agent():
        await until(kube, "DataVolume", in_phase("Succeeded"))
    assert not leftover.parent.exists()


async def test_a_host_whose_kvm_is_broken_is_remembered_and_said(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record = tmp_path / "cluster" / "node" / "accelerator.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"bootId": boot_id, "reason": "KVM internal error. Suberror: 1"}))
    async with start_agent():
        vmi = await running(kube, tmp_path, HANG)
        condition = next(each for each in vmi["status"]["conditions"] if each["type"] == "SoftwareEmulation")
        assert condition["status"] == "True"
        assert "KVM internal error" in condition["message"]
        plan = folder_of(tmp_path, vmi) / "plan.json"
        assert json.loads(plan.read_text())["accelerator"] == "tcg"
        await kube.delete("VirtualMachine", "vm")
        await until(kube, "VirtualMachineInstance", in_phase("Failed"), seconds=SECONDS)
