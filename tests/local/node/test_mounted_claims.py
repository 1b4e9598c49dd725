"""Claims that Pods mount: an ISO's own bytes, and a folder that a Pod fills and a virtual machine boots from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from goldenpipe_kube import Kube, Object
from support.guests import HANG, POWER_OFF, a_machine, a_volume, boot_disk, boot_sector
from support.pods import ended, in_phase, log_of, sh, terminated
from support.watching import until, until_gone

pytestmark = pytest.mark.usefixtures("agent")

ISO = (b"\0" * 32768 + b"\x01CD001\x01").ljust(40960, b"\0") + os.urandom(5000)


def a_claim(name: str = "files") -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def mounting(script: str, claim: str, **more: object) -> Object:
    return sh(
        script,
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        **more,
    )


def waits_with(words: str) -> object:
    def told(pod: Object) -> bool:
        states = (pod.get("status") or {}).get("containerStatuses") or [{}]
        return words in (states[0].get("state", {}).get("waiting") or {}).get("message", "")

    return told


async def imported(kube: Kube, url: str, name: str = "root", size: str = "1Mi") -> None:
    await kube.create(a_volume(url, name=name, size=size))
    await until(kube, "DataVolume", in_phase("Succeeded"), name=name)


async def test_a_pod_reads_the_very_bytes_of_an_imported_iso(kube: Kube, tmp_path: Path) -> None:
    (tmp_path / "a.iso").write_bytes(ISO)
    await imported(kube, (tmp_path / "a.iso").as_uri(), "iso")
    await kube.create(mounting("cksum </data/disk.img; ls /data", "iso"))
    assert (await ended(kube))["status"]["phase"] == "Succeeded"
    (tmp_path / "same").write_bytes(ISO)
    assert (await log_of(kube)).split()[1:] == [str(len(ISO)), "disk.img"]
    assert (tmp_path / "cluster/volumes/iso/files/disk.img").read_bytes() == ISO


async def test_a_virtual_machine_boots_from_what_a_pod_has_written(kube: Kube, tmp_path: Path) -> None:
    (tmp_path / "sector").write_bytes(boot_sector("made by a pod\r\n", POWER_OFF).ljust(1 << 20, b"\0"))
    await kube.create(a_claim())
    await kube.create(mounting(f"cp {tmp_path}/sector /data/.part && mv /data/.part /data/disk.img", "files"))
    assert (await ended(kube))["status"]["phase"] == "Succeeded"
    machine = a_machine()
    machine["spec"]["template"]["spec"]["volumes"] = [{"name": "root", "persistentVolumeClaim": {"claimName": "files"}}]
    await kube.create(machine)
    await kube.act("VirtualMachine", "vm", "start")
    vmi = await until(kube, "VirtualMachineInstance", in_phase("Succeeded", "Failed"), name="vm", seconds=30)
    assert vmi["status"]["phase"] == "Succeeded"
    (pod,) = await kube.list("Pod", labels=f"kubevirt.io/created-by={vmi['metadata']['uid']}")
    assert "made by a pod" in await log_of(kube, pod["metadata"]["name"])


async def test_a_pod_waits_with_words_while_a_virtual_machine_writes_to_the_claim(kube: Kube, tmp_path: Path) -> None:
    await imported(kube, boot_disk(tmp_path, "up\r\n", HANG).as_uri())
    await kube.create(a_machine())
    await kube.act("VirtualMachine", "vm", "start")
    await until(kube, "VirtualMachineInstance", in_phase("Running"), name="vm", seconds=30)
    await kube.create(mounting("true", "root"))
    await until(kube, "Pod", waits_with("virtual machine vm writes to it"), name="step")


async def test_a_pod_may_read_the_cdrom_of_a_running_virtual_machine(kube: Kube, tmp_path: Path) -> None:
    (tmp_path / "a.iso").write_bytes(ISO)
    await imported(kube, (tmp_path / "a.iso").as_uri(), "iso")
    await imported(kube, boot_disk(tmp_path, "up\r\n", HANG).as_uri())
    machine = a_machine(media={"dataVolume": {"name": "iso"}})
    machine["spec"]["template"]["spec"]["domain"]["devices"]["disks"][1] = {"name": "media", "cdrom": {"bus": "sata"}}
    await kube.create(machine)
    await kube.act("VirtualMachine", "vm", "start")
    await until(kube, "VirtualMachineInstance", in_phase("Running"), name="vm", seconds=30)
    await kube.create(mounting("cmp /data/disk.img " + str(tmp_path / "a.iso"), "iso"))
    assert (await ended(kube))["status"]["phase"] == "Succeeded"


async def test_a_virtual_machine_waits_while_a_pod_has_its_claim(kube: Kube, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "sector").write_bytes(boot_sector("later\r\n", POWER_OFF).ljust(1 << 20, b"\0"))
    await kube.create(a_claim())
    await kube.create(mounting(f"cp {tmp_path}/sector /data/disk.img; read _ <{gate}", "files"))
    await until(kube, "Pod", in_phase("Running"), name="step")
    machine = a_machine()
    machine["spec"]["template"]["spec"]["volumes"] = [{"name": "root", "persistentVolumeClaim": {"claimName": "files"}}]
    await kube.create(machine)
    await kube.act("VirtualMachine", "vm", "start")

    def told(vmi: Object) -> bool:
        conditions = (vmi.get("status") or {}).get("conditions") or []
        return any("Pod step has it mounted" in (each.get("message") or "") for each in conditions)

    await until(kube, "VirtualMachineInstance", told, name="vm")
    gate.write_text("\n")
    vmi = await until(kube, "VirtualMachineInstance", in_phase("Succeeded", "Failed"), name="vm", seconds=30)
    assert vmi["status"]["phase"] == "Succeeded"


async def test_a_claim_stays_until_the_pods_that_name_it_are_deleted(kube: Kube, tmp_path: Path) -> None:
    await kube.create(a_claim())
    await kube.create(mounting("echo x >/data/disk.img", "files"))
    await ended(kube)
    await kube.delete("PersistentVolumeClaim", "files")
    await until(kube, "PersistentVolumeClaim", lambda claim: "deletionTimestamp" in claim["metadata"], name="files")
    assert (tmp_path / "cluster/volumes/files/files/disk.img").exists()
    await kube.delete("Pod", "step")
    await until_gone(kube, "PersistentVolumeClaim", "files")
    assert not (tmp_path / "cluster/volumes/files").exists()


async def test_a_virtual_disk_is_no_folder_and_the_pod_is_told_so(kube: Kube, tmp_path: Path) -> None:
    await imported(kube, boot_disk(tmp_path, "up\r\n", HANG).as_uri())
    await kube.create(mounting("true", "root"))
    pod = await ended(kube)
    assert pod["status"]["phase"] == "Failed"
    words = pod["status"].get("message") or terminated(pod)["message"]
    assert "claim root is a virtual disk" in words


async def test_a_pod_waits_for_the_claim_and_runs_when_it_is_there(kube: Kube) -> None:
    await kube.create(mounting("touch /data/here && echo done", "files"))
    await until(kube, "Pod", waits_with('persistentvolumeclaim "files" not found'), name="step")
    await kube.create(a_claim())
    assert (await ended(kube))["status"]["phase"] == "Succeeded"
