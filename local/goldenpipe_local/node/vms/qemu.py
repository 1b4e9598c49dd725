"""The QEMU command line of a machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldenpipe_local.node.vms.hardware import MIB, Drive, Firmware, Hardware, Image, Nic

PROGRAM = "qemu-system-x86_64"
QMP_DESCRIPTOR = 3
"""The listening QMP socket, made by the agent: it can be connected to before QEMU has even started."""
SERIAL_LOG = "serial.log"
EFI_VARIABLES = "OVMF_VARS.fd"

_OVMF = Path("/usr/share/OVMF")
_TRANSLATION_CACHE = 512
"""MiB for TCG's translated code; a Linux that boots and installs packages overflows the default and starts anew."""
_SATA_PORTS = 6


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to run a machine this time."""

    accelerator: str
    single_vcpu: bool
    ssh_port: int
    """The host's port that leads to the guest's 22; 0 lets the kernel choose a free one."""


def command_line(hardware: Hardware, launch: Launch, folder: Path) -> list[str]:
    """The arguments; QEMU runs in the machine's folder."""
    return [
        PROGRAM,
        *("-name", f"guest={_comma(hardware.name)},debug-threads=on"),
        *("-nodefaults", "-no-user-config"),
        # the guest's power-off leaves QEMU waiting with its state, so that it is seen even if nobody looked then
        "-no-shutdown",
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-display", "none"),
        *_machine(hardware),
        *_processor(hardware, launch),
        *("-m", f"size={-(-hardware.memory // MIB)}M"),
        *("-uuid", hardware.uuid),
        *("-rtc", "base=utc,driftfix=slew"),
        *("-boot", "menu=off,strict=on"),
        *_monitor_and_serial(),
        *(_efi(hardware.firmware, folder) if hardware.firmware.efi else ()),
        *(("-device", "VGA,vgamem_mb=16") if hardware.has_display else ()),
        *(_nic(hardware.nic, launch.ssh_port) if hardware.nic else ()),
        *(_rng() if hardware.has_rng else ()),
        *_drives(hardware),
    ]


def efi_files(firmware: Firmware) -> tuple[Path, Path]:
    """OVMF's code, and the variables that each machine gets a copy of."""
    if firmware.secure_boot:
        return _OVMF / "OVMF_CODE_4M.ms.fd", _OVMF / "OVMF_VARS_4M.ms.fd"
    return _OVMF / "OVMF_CODE_4M.fd", _OVMF / "OVMF_VARS_4M.fd"


def _machine(hardware: Hardware) -> Iterator[str]:
    options = [hardware.machine, "vmport=off", "hpet=off"]
    if hardware.firmware.efi:
        options += ["pflash0=efi-code", "pflash1=efi-vars"]
    if hardware.firmware.secure_boot:
        options += ["smm=on"]
    yield from ("-machine", ",".join(options))
    if hardware.firmware.secure_boot:
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")


def _processor(hardware: Hardware, launch: Launch) -> Iterator[str]:
    if launch.accelerator == "kvm":
        yield from ("-accel", "kvm", "-cpu", "host")
    else:
        yield from ("-accel", f"tcg,thread=multi,tb-size={_TRANSLATION_CACHE}", "-cpu", "max")
    if launch.single_vcpu:
        yield from ("-smp", "1,sockets=1,cores=1,threads=1")
    else:
        topology = f"sockets={hardware.sockets},cores={hardware.cores},threads={hardware.threads}"
        yield from ("-smp", f"{hardware.vcpus},{topology}")


def _monitor_and_serial() -> Iterator[str]:
    yield from ("-chardev", f"socket,id=qmp,fd={QMP_DESCRIPTOR},server=on,wait=off")
    yield from ("-mon", "chardev=qmp,mode=control")
    yield from ("-chardev", f"file,id=serial,path={SERIAL_LOG},append=on")
    yield from ("-serial", "chardev:serial")


def _efi(firmware: Firmware, folder: Path) -> Iterator[str]:
    code, _ = efi_files(firmware)
    yield from _blockdev({"node-name": "efi-code", "driver": "raw", "read-only": True, "file": _file(code)})
    yield from _blockdev({"node-name": "efi-vars", "driver": "raw", "file": _file(folder / EFI_VARIABLES)})


def _nic(nic: Nic, ssh_port: int) -> Iterator[str]:
    yield from ("-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{ssh_port}-:22")
    device = "virtio-net-pci" if nic.model == "virtio" else nic.model
    # an empty ROM: nothing boots from the network here, and the firmware would wait for it
    yield from ("-device", f"{device},netdev=net0,mac={nic.mac},romfile=")


def _rng() -> Iterator[str]:
    yield from ("-object", "rng-random,id=rng0,filename=/dev/urandom")
    yield from ("-device", "virtio-rng-pci,rng=rng0")


def _drives(hardware: Hardware) -> Iterator[str]:
    buses = {drive.bus for drive in hardware.drives}
    if "scsi" in buses:
        yield from ("-device", "virtio-scsi-pci,id=scsi0")
    if "sata" in buses:
        yield from ("-device", "ich9-ahci,id=sata0")
    ports = iter(range(_SATA_PORTS))
    for drive in hardware.drives:
        node = f"disk-{drive.name}"[:31]  # QEMU's longest node name
        yield from _blockdev({"node-name": node, **_format(drive.image)})
        port = next(ports) if drive.bus == "sata" else None
        yield from ("-device", json.dumps(_device(drive, node, port)))


def _device(drive: Drive, node: str, port: int | None) -> dict[str, Any]:
    kinds = {
        ("virtio", False): {"driver": "virtio-blk-pci"},
        ("sata", False): {"driver": "ide-hd", "bus": f"sata0.{port}"},
        ("sata", True): {"driver": "ide-cd", "bus": f"sata0.{port}"},
        ("scsi", False): {"driver": "scsi-hd", "bus": "scsi0.0"},
        ("scsi", True): {"driver": "scsi-cd", "bus": "scsi0.0"},
    }
    device: dict[str, Any] = {**kinds[drive.bus, drive.is_cdrom], "drive": node, "bootindex": drive.boot_index}
    if drive.serial:
        device["serial"] = drive.serial
    return device


def _format(image: Image) -> dict[str, Any]:
    if image.read_only:
        return {"driver": image.format, "read-only": True, "file": _file(image.path)}
    # no flushes while it runs: after the guest's power-off QEMU ends cleanly and the agent syncs the file, and after
    # anything else the build has failed anyway
    cache = {"direct": False, "no-flush": True}
    unmap = {"discard": "unmap", "cache": cache}
    return {"driver": image.format, "detect-zeroes": "unmap", **unmap, "file": {**_file(image.path), **unmap}}


def _file(path: Path) -> dict[str, Any]:
    return {"driver": "file", "filename": str(path)}


def _blockdev(node: dict[str, Any]) -> Iterator[str]:
    yield from ("-blockdev", json.dumps(node))


def _comma(text: str) -> str:
    return text.replace(",", ",,")
