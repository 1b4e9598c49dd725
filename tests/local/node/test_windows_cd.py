"""The CD beside the Windows installer, as this node writes it, and the machine that this node makes of the template."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from goldenpipe.lint import job_context, sample_requests
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import Renderer
from goldenpipe.templating.steps import read_step, render_manifests
from goldenpipe_kube import Object
from goldenpipe_local.node.disks.content import DISK
from goldenpipe_local.node.vms.hardware import Hardware, HardwareRefused, hardware_of
from goldenpipe_local.node.vms.iso import read_iso, write_iso
from goldenpipe_local.node.vms.media import images_of

_COMMAND = "{urn:schemas-microsoft-com:unattend}CommandLine"


def objects(settings: ClusterSettings) -> list[Object]:
    bundle = Bundle.read()
    request = next(request for request in sample_requests() if request["os_type"] == "windows")
    step = read_step(bundle, "install_windows")
    return render_manifests(bundle, step, Renderer(job_context(bundle, step, request, settings)))


def secret() -> dict[str, str]:
    [found] = [obj for obj in objects(ClusterSettings()) if obj["metadata"]["name"].endswith("-answer-file")]
    return dict(found["stringData"])


def hardware(settings: ClusterSettings, folder: Path) -> Hardware:
    [vm] = [obj for obj in objects(settings) if obj["kind"] == "VirtualMachine"]
    spec = vm["spec"]["template"]["spec"]
    for volume in spec["volumes"]:
        name = volume.get("dataVolume", {}).get("name") or volume.get("persistentVolumeClaim", {}).get("claimName")
        if name:
            (folder / name).mkdir()
            (folder / name / DISK).touch()
    machine = {"metadata": {"name": "vm", "uid": "u"}, "spec": spec}
    return hardware_of(machine, images_of(machine, folder, folder))


def test_windows_reads_every_file_of_the_cd_by_its_own_name(tmp_path: Path) -> None:
    files = {name: text.encode() for name, text in secret().items()}
    write_iso(tmp_path / "cd.iso", "unattendCD", files)
    assert read_iso(tmp_path / "cd.iso") == files
    # Windows knows no Rock Ridge: it reads the Joliet side
    words = ["xorriso", "-read_fs", "norock", "-indev", str(tmp_path / "cd.iso"), "-find", "/", "-type", "f"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"'/([^']+)'", listed)) == files.keys()
    assert "autounattend.xml" in files


@pytest.mark.parametrize("letter", "DEFGHI")
def test_the_first_logon_finds_its_script_on_whichever_letter_the_cd_has(letter: str) -> None:
    files = secret()
    [command] = [line.text or "" for line in ElementTree.fromstring(files["autounattend.xml"]).iter(_COMMAND)]
    found = re.fullmatch(r"cmd\.exe /c for %d in \(([A-Z ]+)\) do if exist (%d:\\(\S+)) (.*)", command)
    assert found
    letters, place, name, action = found.groups()
    assert letter in letters.split()
    assert name in files
    assert action.endswith(f"-File {place}")


def test_this_node_has_all_that_the_machine_asks_for(tmp_path: Path) -> None:
    drives = hardware(ClusterSettings(windows_drivers="file:///srv/virtio-win.iso"), tmp_path).drives
    assert [(drive.name, drive.is_cdrom, drive.bus) for drive in drives] == [
        ("rootdisk", False, "virtio"),
        ("installer", True, "sata"),
        ("drivers", True, "sata"),
        ("sysprep", True, "sata"),
    ]
    assert [drive.name for drive in sorted(drives, key=lambda drive: drive.boot_index)][:2] == ["rootdisk", "installer"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ClusterSettings(windows_drivers="quay.io/kubevirt/virtio-container-disk:v1.9.0"), "containerDisk"),
        (ClusterSettings(windows_tpm=True), "windows_tpm"),
    ],
)
def test_what_this_node_has_not_is_refused_in_words(tmp_path: Path, settings: ClusterSettings, words: str) -> None:
    with pytest.raises(HardwareRefused, match=words):
        hardware(settings, tmp_path)
