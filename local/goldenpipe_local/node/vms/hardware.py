"""What machine a VirtualMachineInstance asks for, as plain values that a QEMU command line can be made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_kube import Object
from goldenpipe_local.node.quantities import parse_quantity

MIB = 1 << 20
_BUSES = ("virtio", "sata", "scsi")


class HardwareRefused(Exception):
    """The instance asks for what QEMU on this node cannot be given."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """The file behind a volume."""

    path: Path
    format: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A disk or CD-ROM as the guest sees it."""

    name: str
    image: Image
    bus: str
    is_cdrom: bool
    boot_index: int
    serial: str | None = None


@dataclass(frozen=True, kw_only=True)
class Firmware:
    """BIOS, or UEFI with or without secure boot."""

    efi: bool
    secure_boot: bool = False


@dataclass(frozen=True, kw_only=True)
class Nic:
    """A network interface on QEMU's user network."""

    model: str
    mac: str


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One machine."""

    name: str
    uuid: str
    sockets: int
    cores: int
    threads: int
    memory: int
    machine: str
    firmware: Firmware
    drives: tuple[Drive, ...]
    nic: Nic | None
    has_rng: bool
    has_display: bool

    @property
    def vcpus(self) -> int:
        return self.sockets * self.cores * self.threads


def hardware_of(instance: Object, images: Mapping[str, Image]) -> Hardware:
    """Read the instance's domain; `images` are the files of its volumes by name."""
    domain = instance["spec"]["domain"]
    devices = domain.get("devices") or {}
    cpu = domain.get("cpu") or {}
    if "tpm" in devices:
        message = "spec.domain.devices.tpm is not supported on this node; Windows does without (setting windows_tpm)"
        raise HardwareRefused(message)
    uuid = firmware_uuid(instance)
    return Hardware(
        name=instance["metadata"]["name"],
        uuid=uuid,
        sockets=int(cpu.get("sockets") or 1),
        cores=int(cpu.get("cores") or 1),
        threads=int(cpu.get("threads") or 1),
        memory=_memory(domain),
        machine=_machine(domain),
        firmware=_firmware(domain),
        drives=_drives(devices, images),
        nic=_nic(devices, uuid),
        has_rng="rng" in devices,
        has_display=devices.get("autoattachGraphicsDevice") is not False,
    )


def firmware_uuid(instance: Object) -> str:
    """A VirtualMachine gives its instances the same one each time; an instance without one is a machine of its own."""
    firmware = instance["spec"]["domain"].get("firmware") or {}
    return str(firmware.get("uuid") or instance["metadata"]["uid"])


def _memory(domain: Object) -> int:
    requests = (domain.get("resources") or {}).get("requests") or {}
    text = (domain.get("memory") or {}).get("guest") or requests.get("memory")
    if not text:
        message = "spec.domain.memory.guest is not set"
        raise HardwareRefused(message)
    try:
        return parse_quantity(text)
    except ValueError as error:
        message = f"spec.domain.memory.guest: {error}"
        raise HardwareRefused(message) from error


def _machine(domain: Object) -> str:
    kind = (domain.get("machine") or {}).get("type") or "q35"
    if "q35" in kind:
        return "q35"
    if kind == "pc" or kind.startswith("pc-i440fx"):
        return "pc"
    message = f"machine type {kind} is not supported on this node; use q35 or pc"
    raise HardwareRefused(message)


def _firmware(domain: Object) -> Firmware:
    bootloader = (domain.get("firmware") or {}).get("bootloader") or {}
    if "efi" not in bootloader:
        return Firmware(efi=False)
    # KubeVirt's default is secure boot
    return Firmware(efi=True, secure_boot=(bootloader["efi"] or {}).get("secureBoot") is not False)


def _drives(devices: Object, images: Mapping[str, Image]) -> tuple[Drive, ...]:
    disks = devices.get("disks") or []
    # those without a number come after those that have one, in their own order
    after = max([disk.get("bootOrder") or 0 for disk in disks], default=0)
    drives = []
    for place, disk in enumerate(disks, 1):
        if disk["name"] not in images:
            message = f"disk {disk['name']} has no volume of that name"
            raise HardwareRefused(message)
        target = disk.get("cdrom") or disk.get("lun") or disk.get("disk") or {}
        is_cdrom = "cdrom" in disk
        bus = target.get("bus") or ("sata" if is_cdrom else "virtio")
        if bus not in _BUSES or (is_cdrom and bus == "virtio"):
            message = f"disk {disk['name']}: bus {bus} is not supported on this node"
            raise HardwareRefused(message)
        drives.append(
            Drive(
                name=disk["name"],
                image=images[disk["name"]],
                bus=bus,
                is_cdrom=is_cdrom,
                boot_index=disk.get("bootOrder") or after + place,
                serial=disk.get("serial"),
            )
        )
    return tuple(drives)


def _nic(devices: Object, uuid: str) -> Nic | None:
    interfaces = devices.get("interfaces")
    if interfaces is None and devices.get("autoattachPodInterface") is False:
        return None
    if interfaces == []:
        return None
    first = (interfaces or [{}])[0]
    return Nic(model=first.get("model") or "virtio", mac=first.get("macAddress") or mac_of(uuid))


def mac_of(uuid: str) -> str:
    """An address that stays the same for a machine: guests name their interfaces and write configuration by it."""
    digest = hashlib.sha256(uuid.encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])
