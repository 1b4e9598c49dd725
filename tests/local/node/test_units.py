"""The parts of the node agent that need no cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldenpipe_local.node.pods.environment import expand
from goldenpipe_local.node.pods.volumes import PathMap
from goldenpipe_local.node.quantities import parse_quantity
from goldenpipe_local.node.vms.accelerator import AcceleratorChoice, kvm_fault
from goldenpipe_local.node.vms.hardware import Drive, Firmware, Hardware, Image, Nic
from goldenpipe_local.node.vms.iso import read_iso, write_iso
from goldenpipe_local.node.vms.qemu import Launch, command_line

PATHS = PathMap({"/goldenpipe/step": Path("/pods/1/step"), "/goldenpipe": Path("/pods/1/all"), "/dev/x": Path("/t")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/goldenpipe/step/input.json", "/pods/1/step/input.json"),
        ("--input=/goldenpipe/step/input.json", "--input=/pods/1/step/input.json"),
        ("/goldenpipe/steps", "/pods/1/all/steps"),
        ("/a:/goldenpipe/ssh:/b", "/a:/pods/1/all/ssh:/b"),
        ("cat '/dev/x'", "cat '/t'"),
        ("/srv/goldenpipe/step", "/srv/goldenpipe/step"),
        ("/goldenpipe-other", "/goldenpipe-other"),
        ("https://host/goldenpipe", "https://host/goldenpipe"),
    ],
)
def test_a_mount_path_is_replaced_only_where_it_begins_a_path(text: str, expected: str) -> None:
    assert PATHS.rewrite(text) == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [("4Gi", 4 << 30), ("15.2Gi", 16320875725), ("500M", 500_000_000), ("1e3", 1000), ("100m", 1), ("7", 7)],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, number: int) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "4 Gi", "4gb", "Gi", "1,5Gi"])
def test_what_is_no_quantity_is_not_guessed_at(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(text)


def test_variables_are_expanded_as_the_kubelet_does() -> None:
    env = {"A": "1"}
    assert expand("$(A) $(B) $$(A) $A $$ $", env) == "1 $(B) $(A) $A $ $"


def test_an_iso_keeps_names_that_iso_9660_does_not_know(tmp_path: Path) -> None:
    files = {"user-data": b"#cloud-config\n", "Autounattend.XML": b"<x/>", "a" * 60: b"", "meta-data": b"{}"}
    write_iso(tmp_path / "x.iso", "cidata", files)
    assert read_iso(tmp_path / "x.iso") == files
    assert (tmp_path / "x.iso").read_bytes()[0x8028 : 0x8028 + 6] == b"cidata"


def test_a_broken_kvm_is_forgotten_when_the_host_has_booted_again(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    choice = AcceleratorChoice(tmp_path / "record.json", device=device)
    assert choice.choose().name == "kvm"
    choice.remember_broken("KVM internal error")
    assert choice.choose().name == "tcg"
    text = (tmp_path / "record.json").read_text()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (tmp_path / "record.json").write_text(text.replace(boot_id, "another boot"))
    assert choice.choose().name == "kvm"


def test_a_host_without_kvm_says_so(tmp_path: Path) -> None:
    chosen = AcceleratorChoice(tmp_path / "record.json", device=tmp_path / "none").choose()
    assert chosen.name == "tcg"
    assert "No such file" in (chosen.reason or "")


@pytest.mark.parametrize(
    "words", ["KVM internal error. Suberror: 1", "error: failed to set MSR 0x10a to 0x69", "kvm run failed Bad address"]
)
def test_words_of_a_broken_kvm_are_known(words: str) -> None:
    assert kvm_fault(f"qemu: warning: something\n{words}\nEAX=0") == words


def test_an_ordinary_failure_is_not_blamed_on_kvm() -> None:
    assert kvm_fault("cannot set up guest memory 'pc.ram': Cannot allocate memory") is None


def hardware(**changes: object) -> Hardware:
    drive = Drive(
        name="root", image=Image(path=Path("/d,1.qcow2"), format="qcow2"), bus="virtio", is_cdrom=False, boot_index=1
    )
    values: dict[str, object] = {
        "name": "a,b",
        "uuid": "d56b7e06-3ef1-486e-b30f-c27131198efe",
        "sockets": 1,
        "cores": 2,
        "threads": 1,
        "memory": 1 << 30,
        "machine": "q35",
        "firmware": Firmware(efi=False),
        "drives": (drive,),
        "nic": Nic(model="virtio", mac="52:54:00:00:00:01"),
        "has_rng": True,
        "has_display": True,
    }
    return Hardware(**{**values, **changes})  # type: ignore[arg-type]


def line(machine: Hardware, **changes: object) -> str:
    launch = Launch(**{"accelerator": "tcg", "single_vcpu": False, "ssh_port": 0, **changes})  # type: ignore[arg-type]
    return " ".join(command_line(machine, launch, Path("/vms/1")))


def test_a_retry_with_one_vcpu_really_has_one() -> None:
    assert "-smp 2,sockets=1,cores=2,threads=1" in line(hardware())
    assert "-smp 1,sockets=1,cores=1,threads=1" in line(hardware(), single_vcpu=True)


def test_a_comma_in_a_name_does_not_become_an_option() -> None:
    assert "guest=a,,b" in line(hardware())


def test_uefi_gets_variables_of_its_own() -> None:
    text = line(hardware(firmware=Firmware(efi=True)))
    assert "/vms/1/OVMF_VARS.fd" in text
    assert "pflash0=efi-code" in text
    assert "secure" not in text


def test_secure_boot_is_protected_by_system_management_mode() -> None:
    text = line(hardware(firmware=Firmware(efi=True, secure_boot=True)))
    assert "smm=on" in text
    assert "OVMF_CODE_4M.ms.fd" in text
