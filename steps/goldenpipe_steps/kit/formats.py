"""What the first bytes of a file say about it: a disk image, or what else."""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass

HEAD_BYTES = 65536
"""Enough for every magic here; the ISO 9660 one lies at 32769."""
ISO = "iso"
"""What `name` says of an ISO 9660 image, which is none of a disk."""
_NOT_A_DISK = (
    (b"KDMV", 0, "a VMware disk (vmdk)"),
    (b"# Disk DescriptorFile", 0, "the description of a VMware disk (vmdk)"),
    (b"<<< Oracle VM VirtualBox", 0, "a VirtualBox disk (vdi)"),
    (b"vhdxfile", 0, "a Hyper-V disk (vhdx)"),
    (b"conectix", 0, "a Hyper-V disk (vhd)"),
    (b"PK\x03\x04", 0, "a zip archive"),
    (b"BZh", 0, "bzip2-compressed"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive"),
    (b"ustar", 257, "a tar archive"),
    (b"\x7fELF", 0, "a program"),
    (b"%PDF", 0, "a PDF document"),
)


@dataclass(frozen=True, kw_only=True)
class Format:
    """`name` is iso, or qcow2 or raw with the compression after a plus; of anything else `fault` says what it is."""

    name: str = ""
    virtual_size: int | None = None
    fault: str = ""
    hint: str = ""


def look_into(head: bytes, total: int | None) -> Format:
    """What begins with these bytes; `total` is the whole file's size, where known."""
    for magic, compression in ((b"\xfd7zXZ\x00", "xz"), (b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst")):
        if head.startswith(magic):
            return _compressed(head, compression)
    return _plain(head, total)


def _compressed(head: bytes, compression: str) -> Format:
    content = _decompress(head, compression)
    if content is None:
        return Format(name=f"{compression}-compressed")
    inner = _plain(content, None)
    if inner.name == ISO:
        return Format(fault=f"{compression}-compressed, and inside is an installer ISO", hint="Give it unpacked.")
    if inner.fault:
        return Format(fault=f"{compression}-compressed, and inside is {inner.fault}", hint=inner.hint)
    return Format(name=f"{inner.name}+{compression}", virtual_size=inner.virtual_size)


def _plain(head: bytes, total: int | None) -> Format:
    if head.startswith(b"QFI\xfb"):
        return _qcow2(head)
    if head[32769:32774] == b"CD001":
        return Format(name=ISO, virtual_size=total)
    if head[510:512] == b"\x55\xaa" or head[512:520] == b"EFI PART":
        return Format(name="raw", virtual_size=total)
    start = head[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        hint = "The URL may need a login, or lead to a download page: give the address of the file itself."
        return Format(fault="a web page", hint=hint)
    for magic, offset, what in _NOT_A_DISK:
        if head[offset : offset + len(magic)] == magic:
            return Format(fault=what, hint="Give a qcow2 or raw disk image (also .xz, .gz or .zst).")
    what = "a file without partition table" if len(head) >= 512 else f"a file of {len(head)} bytes"
    return Format(fault=f"neither qcow2 nor raw but {what}", hint="Give a bootable qcow2 or raw disk image.")


def _qcow2(head: bytes) -> Format:
    if len(head) < 32:
        return Format(fault="a qcow2 file cut off in its header")
    version, backing = struct.unpack(">IQ", head[4:16])
    (virtual_size,) = struct.unpack(">Q", head[24:32])
    if version not in (2, 3):
        return Format(fault=f"a qcow file of version {version}", hint="Convert it: qemu-img convert -O qcow2.")
    if backing:
        fault = "a qcow2 file that needs a backing file, which is not part of it"
        return Format(fault=fault, hint="Flatten it: qemu-img convert -O qcow2.")
    return Format(name="qcow2", virtual_size=virtual_size)


def _decompress(head: bytes, compression: str) -> bytes | None:
    """The beginning of the content; None if this machine cannot tell."""
    try:
        if compression == "xz":
            return lzma.LZMADecompressor().decompress(head, HEAD_BYTES)
        if compression == "gz":
            return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except (lzma.LZMAError, zlib.error):
        return b""
    if not (program := shutil.which("zstd")):
        return None
    # the input is cut off, so the program ends with an error after what it could read
    done = subprocess.run([program, "-dcq"], input=head, capture_output=True, check=False)
    return done.stdout[:HEAD_BYTES] or None
