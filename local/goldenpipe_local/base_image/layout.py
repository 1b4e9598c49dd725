"""Where everything lies on the disk: GPT, BIOS boot partition, EFI system partition, root last so that it can grow."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

SECTOR = 512
MIB = 1024 * 1024

_ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
"""The type that systemd-repart knows as root: it finds by it what to grow."""
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00C93EC93B3B"


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition, in bytes, aligned to 1 MiB."""

    number: int
    name: str
    type: str
    start: int
    size: int
    uuid: uuid.UUID

    def line(self) -> str:
        """The partition as a line of an sfdisk script."""
        start, size = self.start // SECTOR, self.size // SECTOR
        return f'{self.number}: start={start}, size={size}, type={self.type}, uuid={self.uuid}, name="{self.name}"'


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The numbers are those of Debian's own cloud images: 1 root, 14 BIOS boot, 15 EFI."""

    size: int
    disk: uuid.UUID
    bios: Partition
    efi: Partition
    root: Partition
    root_filesystem: uuid.UUID
    efi_serial: int

    def script(self) -> str:
        """The partition table as sfdisk reads it."""
        lines = [partition.line() for partition in (self.bios, self.efi, self.root)]
        return "\n".join(["label: gpt", f"label-id: {self.disk}", "unit: sectors", *lines, ""])


def plan_layout(distribution: str, size: int) -> Layout:
    """The same distribution and size always give the same places and ids."""

    def identity(what: str) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"goldenpipe:base-image:{distribution}:{what}")

    def partition(number: int, name: str, kind: str, start: int, end: int) -> Partition:
        return Partition(number=number, name=name, type=kind, start=start, size=end - start, uuid=identity(name))

    last = (size // MIB - 1) * MIB  # the last MiB holds the second partition table
    return Layout(
        size=size,
        disk=identity("disk"),
        bios=partition(14, "bios", _BIOS_BOOT, 1 * MIB, 4 * MIB),
        efi=partition(15, "efi", _EFI_SYSTEM, 4 * MIB, 128 * MIB),
        root=partition(1, "root", _ROOT_X86_64, 128 * MIB, last),
        root_filesystem=identity("root file system"),
        efi_serial=identity("efi file system").fields[0],
    )
