"""ISOs that boot, without anything else: they speak on the serial console like an installer, and then do one thing."""

from __future__ import annotations

import io
from pathlib import Path

import pycdlib

from support.guests import boot_sector

_DEBIAN = (
    ("/DISK/INFO.;1", "info", b'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware\n'),
    ("/LINUX.;1", "linux", b"kernel"),
    ("/INITRD.GZ;1", "initrd.gz", b"initrd"),
)
"""What it is taken for."""


def installer_iso(folder: Path, text: str, then: bytes, *, name: str = "installer.iso") -> Path:
    """Booted by BIOS, as El Torito has it: the first sectors of the boot image, loaded like a disk's."""
    sector = boot_sector(text, then)
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident="INSTALLER", rock_ridge="1.09")
    image.add_directory("/DISK", rr_name=".disk")
    for path, file, content in _DEBIAN:
        image.add_fp(io.BytesIO(content), len(content), path, rr_name=file)
    image.add_fp(io.BytesIO(sector), len(sector), "/BOOT.;1", rr_name="boot")
    image.add_eltorito("/BOOT.;1", bootcatfile="/BOOT.CAT;1", rr_bootcatname="boot.cat", boot_load_size=1)
    path = folder / name
    image.write(str(path))
    image.close()
    return path
