"""VirtualMachines as QEMU processes, with guests of one sector: a whole life takes a second."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from goldenpipe_kube import Event, Kube, Object
from goldenpipe_local.node.inotify import FolderWatch
from goldenpipe_local.node.vms.iso import read_iso
from goldenpipe_local.node.vms.process import recorded
from support.guests import HANG, POWER_OFF, RESET, WAIT_FOR_BUTTON, a_machine, a_volume, boot_disk
from support.watching import until, until_gone

pytestmark = pytest.mark.usefixtures("agent")

SECONDS = 30.0


def phase_is(*phases: str) -> Callable[[Object], bool]:
    return lambda obj: (obj.get("status") or {}).get("phase") in phases


def condition(obj: Object, kind: str) -> Object:
    conditions = (obj.get("status") or {}).get("conditions") or []
    found: Object = next((each for each in conditions if each["type"] == kind), {})
    return found


def printable(*words: str) -> Callable[[Object], bool]:
    return lambda machine: (machine.get("status") or {}).get("printableStatus") in words


async def make(kube: Kube, folder: Path, text: str, then: bytes, **options: object) -> None:
    """A stopped machine on a disk that boots into `then`."""
    await kube.create(a_volume(boot_disk(folder, text, then).as_uri()))
    await until(kube, "DataVolume", phase_is("Succeeded"))
    await kube.create(a_machine(**options))  # type: ignore[arg-type]
    await until(kube, "VirtualMachine", printable("Stopped"))


async def instance(kube: Kube, *phases: str) -> Object:
    return await until(kube, "VirtualMachineInstance", phase_is(*phases), name="vm", seconds=SECONDS)


def folder_of(tmp_path: Path, vmi: Object) -> Path:
    return tmp_path / "cluster" / "vms" / str(vmi["metadata"]["uid"])


async def test_a_guest_that_powers_off_makes_the_instance_succeeded(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "hello from the guest\r\n", POWER_OFF)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Succeeded", "Failed")
    assert vmi["status"]["phase"] == "Succeeded"
    phases = [each["phase"] for each in vmi["status"]["phaseTransitionTimestamps"]]
    assert phases[:3] == ["Pending", "Scheduling", "Scheduled"]
    assert phases[-1] == "Succeeded"
    machine = await until(kube, "VirtualMachine", printable("Stopped"))
    assert machine["status"]["created"] is True
    pods = await kube.list("Pod", labels=f"kubevirt.io/created-by={vmi['metadata']['uid']}")
    assert pods[0]["metadata"]["name"].startswith("virt-launcher-vm-")
    log = b"".join([chunk async for chunk in kube.logs(pods[0]["metadata"]["name"])])
    assert b"hello from the guest" in log
    await until(kube, "Pod", phase_is("Succeeded"), name=pods[0]["metadata"]["name"])
    assert recorded(folder_of(tmp_path, vmi)) is None


async def test_a_running_machine_says_where_its_ssh_is(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", HANG)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Running")
    assert vmi["status"]["interfaces"][0]["ipAddress"] == "127.0.0.1"
    await until(kube, "VirtualMachineInstance", lambda vmi: condition(vmi, "Ready")["status"] == "True")
    port = int(vmi["metadata"]["annotations"]["goldenpipe.io/ssh-port"])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    machine = await until(kube, "VirtualMachine", printable("Running"))
    assert "stateChangeRequests" not in machine["status"]
    ready = await until(kube, "VirtualMachine", lambda machine: machine["status"].get("ready") is True)
    assert ready["metadata"]["finalizers"] == ["kubevirt.io/virtualMachineControllerFinalize"]


async def test_a_machine_goes_through_the_states_of_a_real_one(kube: Kube, tmp_path: Path) -> None:
    words: list[str] = []

    async def watch() -> None:
        async for event in kube.watch("VirtualMachine"):
            if isinstance(event, Event):
                word = (event.object.get("status") or {}).get("printableStatus")
                if word and words[-1:] != [word]:
                    words.append(word)
                if words[-2:] == ["Running", "Stopped"]:
                    return

    watching = asyncio.create_task(watch())
    await make(kube, tmp_path, "up" + " " * 300, POWER_OFF)
    await kube.act("VirtualMachine", "vm", "start")
    async with asyncio.timeout(SECONDS):
        await watching
    assert words == ["Stopped", "Starting", "Running", "Stopped"]


async def test_a_killed_qemu_makes_the_instance_failed(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", HANG)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Running")
    qemu = recorded(folder_of(tmp_path, vmi))
    assert qemu is not None
    assert qemu.send_signal(signal.SIGKILL)
    ended = await instance(kube, "Failed", "Succeeded")
    assert ended["status"]["phase"] == "Failed"
    assert "signal 9" in condition(ended, "Synchronized")["message"]
    event = await until(kube, "Event", lambda event: event["reason"] == "Stopped")
    assert event["type"] == "Warning"


async def test_a_terminated_qemu_is_no_clean_power_off(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", HANG)
    await kube.act("VirtualMachine", "vm", "start")
    qemu = recorded(folder_of(tmp_path, await instance(kube, "Running")))
    assert qemu is not None
    assert qemu.send_signal(signal.SIGTERM)
    assert (await instance(kube, "Failed", "Succeeded"))["status"]["phase"] == "Failed"


async def test_a_kernel_panic_with_several_cpus_is_tried_once_with_one(kube: Kube, tmp_path: Path) -> None:
    panic = "[    1.2] Kernel panic - not syncing: Fatal exception in interrupt"
    await make(kube, tmp_path, f"{panic}\r\n", HANG, cores=2)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Failed")
    assert "Kernel panic - not syncing: Fatal exception in interrupt" in condition(vmi, "Synchronized")["message"]
    assert condition(vmi, "goldenpipe.io/SingleVCPU")["status"] == "True"
    serial = (folder_of(tmp_path, vmi) / "serial.log").read_text()
    assert serial.count("Kernel panic") == 2


async def test_a_kernel_panic_with_one_cpu_fails_the_machine_at_once(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "Kernel panic - not syncing: VFS: no root\r\n", HANG, cores=1)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Failed")
    assert "VFS: no root" in condition(vmi, "Synchronized")["message"]
    assert condition(vmi, "goldenpipe.io/SingleVCPU") == {}
    assert (folder_of(tmp_path, vmi) / "serial.log").read_text().count("Kernel panic") == 1


async def test_a_guest_that_resets_keeps_its_instance(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "again\r\n", RESET)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Running")
    pod = (await kube.list("Pod"))[0]["metadata"]["name"]
    seen = b""
    async with asyncio.timeout(SECONDS):
        async for chunk in kube.logs(pod, follow=True):
            seen += chunk
            if seen.count(b"again") >= 3:
                break
    now = await kube.get("VirtualMachineInstance", "vm")
    assert now["metadata"]["uid"] == vmi["metadata"]["uid"]
    assert now["status"]["phase"] == "Running"


async def test_a_guest_that_ignores_the_power_button_is_ended_after_the_grace_period(
    kube: Kube, tmp_path: Path
) -> None:
    await make(kube, tmp_path, "up\r\n", HANG, grace=1)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Running")
    await kube.act("VirtualMachine", "vm", "stop")
    failed = await instance(kube, "Failed")
    assert "did not power off within" in condition(failed, "Synchronized")["message"]
    await until_gone(kube, "VirtualMachineInstance", "vm")
    await until(
        kube, "VirtualMachine", lambda machine: printable("Stopped")(machine) and "created" not in machine["status"]
    )
    assert not folder_of(tmp_path, vmi).exists()
    assert await kube.list("Pod") == []


async def test_a_guest_that_hears_the_power_button_ends_well(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", WAIT_FOR_BUTTON, grace=60)
    await kube.act("VirtualMachine", "vm", "start")
    await instance(kube, "Running")
    await kube.act("VirtualMachine", "vm", "stop")
    assert (await instance(kube, "Succeeded", "Failed"))["status"]["phase"] == "Succeeded"
    await until_gone(kube, "VirtualMachineInstance", "vm")


async def test_deleting_the_launcher_pod_shuts_the_machine_down(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", WAIT_FOR_BUTTON, grace=60)
    await kube.act("VirtualMachine", "vm", "start")
    await instance(kube, "Running")
    pod = (await kube.list("Pod"))[0]["metadata"]["name"]
    await kube.delete("Pod", pod)
    assert (await instance(kube, "Succeeded", "Failed"))["status"]["phase"] == "Succeeded"
    await until_gone(kube, "Pod", pod)


async def test_a_machine_deleted_without_its_instance_leaves_it_running(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", WAIT_FOR_BUTTON, grace=60)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Running")
    await kube.delete("VirtualMachine", "vm", propagation="Orphan")
    await until_gone(kube, "VirtualMachine", "vm")
    left = await kube.get("VirtualMachineInstance", "vm")
    assert (left["metadata"]["uid"], left["metadata"].get("ownerReferences")) == (vmi["metadata"]["uid"], None)
    assert "deletionTimestamp" not in left["metadata"]
    await kube.delete("VirtualMachineInstance", "vm", grace_seconds=0)
    await until_gone(kube, "VirtualMachineInstance", "vm")


@pytest.mark.parametrize("bus", ["virtio", "sata", "scsi"])
async def test_a_machine_boots_from_any_bus_beside_a_cd(kube: Kube, tmp_path: Path, bus: str) -> None:
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ks"}, "data": {"ks.cfg": "poweroff"}}
    await kube.create(data)
    await kube.create(a_volume(boot_disk(tmp_path, "booted\r\n", POWER_OFF).as_uri()))
    machine = a_machine(strategy="Once", ks={"configMap": {"name": "ks", "volumeLabel": "OEMDRV"}})
    root, cd = machine["spec"]["template"]["spec"]["domain"]["devices"]["disks"]
    root["disk"]["bus"] = bus
    cd.pop("disk")
    cd["cdrom"] = {"bus": "sata"}
    await kube.create(machine)
    vmi = await instance(kube, "Succeeded", "Failed")
    assert vmi["status"]["phase"] == "Succeeded"
    assert "booted" in (folder_of(tmp_path, vmi) / "serial.log").read_text()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_machine_boots_with_uefi(kube: Kube, tmp_path: Path, secure: bool) -> None:
    await kube.create(a_volume(boot_disk(tmp_path, "up", HANG).as_uri()))
    machine = a_machine(strategy="Once", grace=0)
    domain = machine["spec"]["template"]["spec"]["domain"]
    domain["firmware"] = {"bootloader": {"efi": {"secureBoot": secure}}}
    domain["memory"]["guest"] = "256Mi"
    await kube.create(machine)
    vmi = await instance(kube, "Running")
    folder = folder_of(tmp_path, vmi)
    with FolderWatch(folder) as watch:
        async with asyncio.timeout(SECONDS):
            while b"BdsDxe" not in (folder / "serial.log").read_bytes():
                await watch.changed()
    await kube.delete("VirtualMachine", "vm")
    await until_gone(kube, "VirtualMachine", "vm", seconds=SECONDS)


async def test_starting_again_makes_a_new_instance_of_the_same_machine(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", POWER_OFF)
    await kube.act("VirtualMachine", "vm", "start")
    first = await instance(kube, "Succeeded")
    await kube.act("VirtualMachine", "vm", "start")

    def second_is_done(vmi: Object) -> bool:
        return bool(vmi["metadata"]["uid"] != first["metadata"]["uid"]) and phase_is("Succeeded")(vmi)

    second = await until(kube, "VirtualMachineInstance", second_is_done, seconds=SECONDS)
    uuid = second["spec"]["domain"]["firmware"]["uuid"]
    assert uuid == first["spec"]["domain"]["firmware"]["uuid"]
    assert not folder_of(tmp_path, first).exists()


async def test_deleting_a_running_machine_leaves_nothing_of_it(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", HANG, grace=0)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Running")
    qemu = recorded(folder_of(tmp_path, vmi))
    await kube.delete("VirtualMachine", "vm")
    await until_gone(kube, "VirtualMachine", "vm", seconds=SECONDS)
    assert await kube.list("VirtualMachineInstance") == []
    assert await kube.list("Pod") == []
    assert not folder_of(tmp_path, vmi).exists()
    assert qemu is not None
    assert not qemu.is_alive()


async def test_a_disk_in_use_is_kept_until_the_machine_has_ended(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", HANG, grace=0)
    await kube.act("VirtualMachine", "vm", "start")
    await instance(kube, "Running")
    await kube.delete("DataVolume", "root")
    await until(kube, "PersistentVolumeClaim", lambda claim: "deletionTimestamp" in claim["metadata"])
    disk = tmp_path / "cluster" / "volumes" / "root" / "disk.qcow2"
    assert disk.exists()
    await kube.act("VirtualMachine", "vm", "stop")
    await until_gone(kube, "PersistentVolumeClaim", "root", seconds=SECONDS)
    assert not disk.parent.exists()


async def test_cloud_init_gets_its_data_from_the_secret(kube: Kube, tmp_path: Path) -> None:
    data = {"userdata": "#cloud-config\nusers: []\n", "networkdata": "version: 2\n"}
    await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ci"}, "stringData": data})
    await make(kube, tmp_path, "up\r\n", HANG, cloudinit={"cloudInitNoCloud": {"secretRef": {"name": "ci"}}})
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Running")
    iso = folder_of(tmp_path, vmi) / "cloudinit.iso"
    files = read_iso(iso)
    assert files["user-data"] == data["userdata"].encode()
    assert files["network-config"] == data["networkdata"].encode()
    assert vmi["spec"]["domain"]["firmware"]["uuid"].encode() in files["meta-data"]
    assert b'"local-hostname": "tiny"' in files["meta-data"]
    assert iso.stat().st_mode & 0o777 == 0o600
    qemu = recorded(folder_of(tmp_path, vmi))
    assert qemu is not None
    qemu.send_signal(signal.SIGKILL)
    await instance(kube, "Failed")
    assert not iso.exists()


async def test_a_machine_waits_for_its_secret(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", HANG, cloudinit={"cloudInitNoCloud": {"secretRef": {"name": "late"}}})
    await kube.act("VirtualMachine", "vm", "start")
    await until(kube, "Event", lambda event: event["reason"] == "FailedMount")
    await kube.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"userdata": "x"}}
    )
    await instance(kube, "Running")


async def test_a_machine_on_a_claim_that_does_not_exist_waits_for_it(kube: Kube, tmp_path: Path) -> None:
    await kube.create(a_machine())
    await until(kube, "VirtualMachine", printable("Stopped"))
    await kube.act("VirtualMachine", "vm", "start")
    await until(kube, "VirtualMachine", printable("ErrorPvcNotFound"))
    await kube.create(a_volume(boot_disk(tmp_path, "up", POWER_OFF).as_uri()))
    await instance(kube, "Succeeded")


async def test_a_machine_that_asks_for_more_memory_than_there_is_fails_in_qemus_words(
    kube: Kube, tmp_path: Path
) -> None:
    await kube.create(a_volume(boot_disk(tmp_path, "up", POWER_OFF).as_uri()))
    machine = a_machine()
    machine["spec"]["template"]["spec"]["domain"]["memory"]["guest"] = "16Ti"
    await kube.create(machine)
    await until(kube, "VirtualMachine", printable("Stopped"))
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await instance(kube, "Failed")
    assert "emory" in condition(vmi, "Synchronized")["message"]
    assert "QEMU ended with exit code 1" in condition(vmi, "Synchronized")["message"]


async def test_a_machine_with_run_strategy_once_starts_by_itself_and_stays_ended(kube: Kube, tmp_path: Path) -> None:
    await kube.create(a_volume(boot_disk(tmp_path, "up", POWER_OFF).as_uri()))
    await kube.create(a_machine(strategy="Once"))
    vmi = await instance(kube, "Succeeded")
    machine = await until(kube, "VirtualMachine", printable("Stopped"))
    assert machine["status"]["created"] is True
    assert (await kube.get("VirtualMachineInstance", "vm"))["metadata"]["uid"] == vmi["metadata"]["uid"]


async def test_after_the_end_the_claim_says_what_its_disk_takes(kube: Kube, tmp_path: Path) -> None:
    await make(kube, tmp_path, "up\r\n", POWER_OFF)
    await kube.patch(
        "PersistentVolumeClaim", "root", {"metadata": {"annotations": {"goldenpipe.io/allocated-bytes": "0"}}}
    )
    await kube.act("VirtualMachine", "vm", "start")
    await instance(kube, "Succeeded")
    claim = await kube.get("PersistentVolumeClaim", "root")
    disk = tmp_path / "cluster" / "volumes" / "root" / "disk.qcow2"
    assert claim["metadata"]["annotations"]["goldenpipe.io/allocated-bytes"] == str(disk.stat().st_blocks * 512)
