"""Guests of one disk sector: they speak on the serial console and then do one thing, all within a second."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from goldenpipe_kube import Object

SECTOR = 512
POWER_OFF = bytes.fromhex("ba0406 b80020 ef f4 ebfd")
"""mov dx,0x604; mov ax,0x2000; out dx,ax; hlt; jmp: ACPI's S5 on q35."""
HANG = bytes.fromhex("f4 ebfd")
"""hlt; jmp: with interrupts off, and deaf to the power button."""
WAIT_FOR_BUTTON = bytes.fromhex("ba0206 b80001 ef ba0006 ed f6c401 74fa") + POWER_OFF
"""mov dx,0x602; mov ax,0x100; out dx,ax; mov dx,0x600; again: in ax,dx; test ah,1; jz again: then power off."""
RESET = bytes.fromhex("b0fe e664 f4 ebfd")
"""mov al,0xfe; out 0x64,al: the keyboard controller pulls the reset line."""

WAIT_A_SECOND = bytes.fromhex("b000 e670 e471 88c3 b000 e670 e471 38c3 74f6")
"""mov al,0; out 0x70,al; in al,0x71; mov bl,al; again: the same; cmp bl,al; je again: until the next second begins."""

# cli; xor ax,ax; mov ds,ax; mov si,<text>
_START = bytes.fromhex("fa 31c0 8ed8 be")
# next: lodsb; test al,al; jz end; mov dx,0x3f8; out dx,al; jmp next
_SPEAK = bytes.fromhex("ac 84c0 7406 baf803 ee ebf5")
_LOADED_AT = 0x7C00


def boot_sector(text: str, then: bytes) -> bytes:
    """Write the text to the serial port, then run the code."""
    body = len(_START) + 2 + len(_SPEAK) + len(then)
    code = _START + struct.pack("<H", _LOADED_AT + body) + _SPEAK + then + text.encode() + b"\0"
    assert len(code) <= SECTOR - 2
    return code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def boot_disk(folder: Path, text: str, then: bytes, *, name: str = "guest.qcow2") -> Path:
    """A qcow2 of 1 MiB that boots into such a sector."""
    raw, disk = folder / f"{name}.raw", folder / name
    raw.write_bytes(boot_sector(text, then).ljust(1 << 20, b"\0"))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    raw.unlink()
    return disk


def boot_iso(folder: Path, text: str, then: bytes) -> Path:
    """A CD that boots into such a sector."""
    tree, iso = folder / "cd", folder / "cd.iso"
    tree.mkdir()
    (tree / "boot.bin").write_bytes(boot_sector(text, then))
    options = ("-quiet", "-b", "boot.bin", "-no-emul-boot", "-boot-load-size", "1", "-o", iso)
    subprocess.run(["xorriso", "-as", "mkisofs", *options, tree], check=True, capture_output=True)
    return iso


def a_volume(url: str, *, name: str = "root", size: str = "1Mi", **http: str) -> Object:
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": name, "labels": {"goldenpipe.io/image": "tiny"}},
        "spec": {
            "source": {"http": {"url": url, **http}},
            "storage": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        },
    }


def a_machine(
    name: str = "vm", *, disk: str = "root", cores: int = 1, strategy: str = "Manual", grace: int = 30, **more: Object
) -> Object:
    volumes = [{"name": "root", "dataVolume": {"name": disk}}]
    disks = [{"name": "root", "bootOrder": 1, "disk": {"bus": "virtio"}}]
    for volume, source in more.items():
        volumes.append({"name": volume, **source})
        disks.append({"name": volume, "disk": {"bus": "virtio"}})
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {
            "runStrategy": strategy,
            "template": {
                "metadata": {"labels": {"goldenpipe.io/build": "tiny"}},
                "spec": {
                    "terminationGracePeriodSeconds": grace,
                    "hostname": "tiny",
                    "domain": {
                        "cpu": {"cores": cores},
                        "memory": {"guest": "64Mi"},
                        "devices": {
                            "disks": disks,
                            "interfaces": [{"name": "default", "masquerade": {}}],
                            "rng": {},
                        },
                    },
                    "networks": [{"name": "default", "pod": {}}],
                    "volumes": volumes,
                },
            },
        },
    }
