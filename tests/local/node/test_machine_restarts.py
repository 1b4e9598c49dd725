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
from goldenpipe_local.node.vms import monitor
from goldenpipe_local.node.vms.process import recorded
from support.guests import HANG, POWER_OFF, a_machine, a_volume, boot_disk
from support.pods import in_phase
from support.watching import until

StartAgent = Callable[[], AbstractAsyncContextManager[NodeAgent]]

SECONDS = 30.0


async def running(kube: Kube, folder: Path, then: bytes) -> Object:
    await kube.create(a_volume(boot_disk(folder, "up\r\n", then).as_uri()))
    await until(kube, "DataVolume", in_phase("Succeeded"))
    await kube.create(a_machine(strategy="Once", grace=1))
    return await until(kube, "VirtualMachineInstance", in_phase("Running", "Succeeded"), seconds=SECONDS)


async def test_a_machine_runs_on_without_the_agent_and_is_found_again(
    start_agent: StartAgent, kube: Kube, tmp_path: Path
) -> None:
    async with start_agent():
        vmi = await running(kube, tmp_path, HANG)
        folder = tmp_path / "cluster" / "vms" / vmi["metadata"]["uid"]
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
        vmi = await running(kube, tmp_path, HANG)
    folder = tmp_path / "cluster" / "vms" / vmi["metadata"]["uid"]
    # what a guest's power-off leaves behind: a QEMU that waits in the state "shutdown"
    async with monitor.connected(folder) as qmp:
        await qmp._client.execute("system_reset")
        await qmp._client.execute("human-monitor-command", {"command-line": "o /w 0x604 0x2000"})
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
    qemu = recorded(tmp_path / "cluster" / "vms" / vmi["metadata"]["uid"])
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
    folder = tmp_path / "cluster" / "vms" / vmi["metadata"]["uid"]
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
        plan = tmp_path / "cluster" / "vms" / vmi["metadata"]["uid"] / "plan.json"
        assert json.loads(plan.read_text())["accelerator"] == "tcg"
        await kube.delete("VirtualMachine", "vm")
        await until(kube, "VirtualMachineInstance", in_phase("Failed"), seconds=SECONDS)
