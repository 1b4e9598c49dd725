"""Disk images: what a file is, whether it may be trusted, and making a qcow2 of it, by its bytes and never by its name.

A disk image can name other files of this host (a backing file, an external data file), which would put their content
into the guest. Such images are refused, and qemu-img looks at untrusted ones only within limits.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldenpipe_local.node.disks.problems import ImportProblem, require_space
from goldenpipe_local.node.processes import run

_QCOW2 = b"QFI\xfb"
_MAGICS = ((_QCOW2, "qcow2"), (b"KDMV", "vmdk"), (b"vhdxfile", "vhdx"), (b"conectix", "vpc"))
_VDI_OFFSET, _VDI = 64, b"\x7f\x10\xda\xbe"
_EXTERNAL_DATA = 1 << 2
"""Bit of the qcow2 header's incompatible features."""
_INFO_MEMORY, _INFO_SECONDS = 1 << 30, 30
"""What `qemu-img info` may take for a file that somebody sent us."""
_SECTOR = 512


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """A disk image as the guest would see it."""

    format: str
    virtual_size: int


def detect_format(path: Path) -> str:
    """By magic; whatever has none is raw."""
    with path.open("rb") as file:
        head = file.read(_VDI_OFFSET + len(_VDI))
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    return "vdi" if head[_VDI_OFFSET:] == _VDI else "raw"


def is_iso(path: Path) -> bool:
    """Whether an ISO 9660 volume begins where one does."""
    with path.open("rb") as file:
        file.seek(32769)
        return file.read(5) == b"CD001"


async def inspect(path: Path) -> ImageInfo:
    """Find out the format and size; raise `ImportProblem` for an image that is broken or names other files."""
    name = detect_format(path)
    if name == "raw":
        size = path.stat().st_size
        return ImageInfo(format=name, virtual_size=-(-size // _SECTOR) * _SECTOR)
    if name == "qcow2":
        _check_qcow2_header(path)
    document = await _info(path, name)
    _check_info(path, document)
    return ImageInfo(format=name, virtual_size=int(document["virtual-size"]))


def _check_qcow2_header(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(80)
    if len(head) < 72:
        raise ImportProblem(unreadable("the qcow2 header is cut off"))
    version, backing = struct.unpack(">IQ", head[4:16])
    features = struct.unpack(">Q", head[72:80])[0] if version >= 3 and len(head) == 80 else 0
    if backing:
        raise ImportProblem(unreadable("the qcow2 has a backing file, which is not allowed"))
    if features & _EXTERNAL_DATA:
        raise ImportProblem(unreadable("the qcow2 has an external data file, which is not allowed"))


async def _info(path: Path, name: str) -> dict[str, Any]:
    limits = ("prlimit", f"--as={_INFO_MEMORY}", f"--cpu={_INFO_SECONDS}")
    code, output, words = await run(*limits, "qemu-img", "info", "--output=json", "-f", name, path)
    if code:
        raise ImportProblem(unreadable(words or f"qemu-img info ended with {code}"))
    document: dict[str, Any] = json.loads(output)
    return document


def _check_info(path: Path, document: dict[str, Any]) -> None:
    data = (document.get("format-specific") or {}).get("data") or {}
    extents = [extent.get("filename") for extent in data.get("extents", [])]
    if document.get("backing-filename") or data.get("data-file") or any(name != str(path) for name in extents):
        raise ImportProblem(unreadable("the image names other files, which is not allowed"))


def unreadable(why: str) -> str:
    return f"Unable to process data: Unable to convert source data to target format: {why}"


async def create_blank(target: Path, size: int) -> None:
    await _qemu_img("create", "-q", "-f", "qcow2", target, str(_sectors(size)))


async def convert(source: Path, info: ImageInfo, target: Path, size: int) -> None:
    """Make a qcow2 of this size out of an image of any format."""
    _, output, _ = await run("qemu-img", "measure", "--output=json", "-f", info.format, "-O", "qcow2", source)
    if output:
        require_space(target.parent, int(json.loads(output)["required"]))
    await _qemu_img("convert", "-f", info.format, "-O", "qcow2", "-m", "8", "-W", source, target)
    await resize(target, info, size)


async def resize(target: Path, info: ImageInfo, size: int) -> None:
    """Grow a qcow2 to the size its claim asked for."""
    if _sectors(size) > info.virtual_size:
        await _qemu_img("resize", "-q", "-f", "qcow2", target, str(_sectors(size)))


async def copy(source: Path, target: Path, needed: int) -> None:
    """Copy a file as it is: without moving data where the file system can, without its holes everywhere."""
    require_space(target.parent, needed)
    code, _, words = await run("cp", "--reflink=auto", "--sparse=auto", "--", source, target)
    if code:
        raise ImportProblem(unreadable(words))


async def _qemu_img(*arguments: str | Path) -> None:
    code, _, words = await run("qemu-img", *arguments)
    if code:
        raise ImportProblem(unreadable(words or f"qemu-img {arguments[0]} ended with {code}"))


def _sectors(size: int) -> int:
    return size // _SECTOR * _SECTOR
