"""GRUB for a disk that is only a file: what grub-install would ask of a block device, done on bytes."""

from __future__ import annotations

import struct

from goldenpipe_local.base_image.layout import SECTOR, Layout

BOOT_CODE_SIZE = 440
"""What of the first sector is code; the disk's id and the protective partition table follow."""

_KERNEL_SECTOR = 0x5C
_DRIVE_CHECK = 0x66
_FIRST_BLOCKLIST = SECTOR - 12
_NOP = b"\x90"

BIOS_MODULES = (
    *("biosdisk", "part_gpt", "ext2", "search", "search_fs_uuid", "normal", "configfile"),
    *("linux", "serial", "terminal", "echo", "test", "boot"),
)
"""Built into the core image, so that nothing is read piecemeal through the BIOS."""


def boot_code(boot_img: bytes, layout: Layout) -> bytes:
    """The first sector's code, told where the core image lies."""
    code = bytearray(boot_img[:BOOT_CODE_SIZE])
    struct.pack_into("<Q", code, _KERNEL_SECTOR, layout.bios.start // SECTOR)
    # as grub-install does for hard disks: believe the BIOS about the drive it booted from
    code[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NOP * 2
    return bytes(code)


def core_image(core_img: bytes, layout: Layout) -> bytes:
    """The core image, its first sector told where the others are."""
    if len(core_img) > layout.bios.size:
        message = f"the GRUB core image of {len(core_img)} bytes is larger than its partition"
        raise ValueError(message)
    core = bytearray(core_img)
    sectors = -(-len(core) // SECTOR)
    struct.pack_into("<QH", core, _FIRST_BLOCKLIST, layout.bios.start // SECTOR + 1, sectors - 1)
    return bytes(core)


def find_root(layout: Layout) -> str:
    """GRUB's first words: the root file system by its id, then the configuration there."""
    return f"search.fs_uuid {layout.root_filesystem} root\nset prefix=($root)/boot/grub\n"


def efi_config(layout: Layout) -> str:
    """What Debian's signed GRUB reads on the EFI system partition."""
    return find_root(layout) + "configfile $prefix/grub.cfg\n"
