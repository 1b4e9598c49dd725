"""Writes an installed root and its boot loaders into a file as a partitioned disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_local.base_image import grub
from goldenpipe_local.base_image.layout import SECTOR, Layout
from goldenpipe_local.base_image.process import run

_EXT4_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
"""Named here, since the newest that mke2fs would choose by itself are not read by every GRUB."""

_NAMESPACE = (
    *("unshare", "--user", "--map-auto", "--setuid", "0", "--setgid", "0"),
    # the caller too has an id in it, so that root in the namespace may write where the caller may
    *("--map-user", "65536", "--map-group", "65536", "--"),
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """The files of one build, in one folder beside the disk."""

    folder: Path
    root: Path
    """What becomes the root file system."""
    lock: int
    """Inherited by all programs: as long as one of them runs, the folder is in use."""
    layout: Layout

    @classmethod
    def beside(cls, out: Path, *, lock: int, layout: Layout) -> Work:
        """The same disk always has the same work folder, so that a build finds what a killed one left."""
        folder = out.parent / f".{out.name}.part"
        return cls(folder=folder, root=_root_folder(folder), lock=lock, layout=layout)

    @property
    def raw(self) -> Path:
        return self.folder / "disk.raw"

    async def as_owner(self, *command: str | Path) -> None:
        """Runs a program as the owner of the files in the root: without root, in a user namespace like mmdebstrap's."""
        prefix = () if os.geteuid() == 0 else _NAMESPACE
        await run(*prefix, *command, pass_fds=[self.lock])

    async def clear(self) -> None:
        """Removes what is there, whoever owns it."""
        if self.root.exists():
            await self.as_owner("rm", "-rf", "--one-file-system", self.root)
        if self.folder.exists():
            await run("rm", "-rf", "--one-file-system", self.folder)


def _root_folder(folder: Path) -> Path:
    """Without root, mmdebstrap works as a user who cannot look into a private home folder."""
    if os.geteuid() == 0:
        return folder / "root"
    name = hashlib.sha256(bytes(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"goldenpipe-{os.geteuid()}-{name}"


async def write_disk(work: Work) -> None:
    """Makes `work.raw` from `work.root`."""
    with work.raw.open("wb") as raw:
        raw.truncate(work.layout.size)
    await run("sfdisk", "--quiet", work.raw, stdin=work.layout.script())
    await _write_root(work)
    await _write_efi(work)
    _write_bios_boot(work)


async def _write_root(work: Work) -> None:
    root = work.layout.root
    # a new file reads as zeros: nothing is written for the tables, and the guest need not do it later
    options = f"offset={root.start},lazy_itable_init=0,lazy_journal_init=0,assume_storage_prezeroed=1"
    identity = ("-U", str(work.layout.root_filesystem), "-L", "root")
    await work.as_owner(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-O", _EXT4_FEATURES, *identity, "-E", options),
        *("-d", work.root, work.raw, f"{root.size // 1024}k"),
    )


async def _write_efi(work: Work) -> None:
    efi, serial = work.layout.efi, f"{work.layout.efi_serial:08X}"
    volume = ("-i", f"{work.raw}@@{efi.start}")
    await run("mformat", *volume, "-F", "-T", str(efi.size // SECTOR), "-N", serial, "-v", "EFI", "::")
    config = work.folder / "grub.cfg"
    config.write_text(grub.efi_config(work.layout))
    await run("mmd", *volume, "::/EFI", "::/EFI/BOOT", "::/EFI/debian")
    for source, target in (
        (work.root / "usr/lib/shim/shimx64.efi.signed", "::/EFI/BOOT/BOOTX64.EFI"),
        (work.root / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "::/EFI/BOOT/grubx64.efi"),
        (config, "::/EFI/debian/grub.cfg"),
    ):
        await run("mcopy", *volume, source, target)


def _write_bios_boot(work: Work) -> None:
    images = work.root / "boot/grub/i386-pc"
    with work.raw.open("r+b") as raw:
        raw.write(grub.boot_code((images / "boot.img").read_bytes(), work.layout))
        raw.seek(work.layout.bios.start)
        raw.write(grub.core_image((images / "core.img").read_bytes(), work.layout))
