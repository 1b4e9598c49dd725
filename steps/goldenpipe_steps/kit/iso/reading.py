"""The directory tree of an ISO: ISO 9660 with Rock Ridge names, or UDF where the medium keeps its files there.

ISO 9660 is read here and not by pycdlib, which reads every directory before it answers anything (51 blocks of 128 KiB
for a tree of 1500 folders, here 6) and refuses media for faults that no installer minds. UDF, on Windows media only,
is pycdlib's.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from goldenpipe_steps.kit.iso.media import Media

SECTOR = 2048
_DESCRIPTORS = range(16, 64)
_BOOT_SYSTEM = b"EL TORITO SPECIFICATION"
_BOOTABLE = 0x88
_PLATFORMS = {0x00: "bios", 0xEF: "uefi"}
LARGEST_TEXT = 1 << 20
"""Bytes of a file that is read to know what the medium is."""
_LARGEST_FOLDER = 16 << 20


class NotAnIso(Exception):
    """There is no ISO 9660 volume in these bytes, or it is cut off."""


class Tree(Protocol):
    """The files of a medium. Paths have no leading slash; letter case does not matter."""

    def names(self, folder: str) -> list[str]:
        """What is in the folder; empty if there is no such folder."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is no such file."""

    def read(self, path: str, limit: int = LARGEST_TEXT) -> bytes | None:
        """The beginning of a file; None if there is no such file."""

    def place(self, path: str) -> int | None:
        """Where in the medium a file begins; None if there is no such file."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file or folder as its directory tells of it."""

    name: str
    sector: int
    size: int
    is_folder: bool


@dataclass(frozen=True, kw_only=True)
class Volume:
    """What the volume descriptors say."""

    id: str
    system: str
    has_udf: bool
    firmware: tuple[str, ...]
    """What can boot it: bios, uefi, both, or neither."""
    modified: str
    """When it was made, as 16 digits: GRUB takes this for the volume's UUID."""


class Iso:
    """An ISO 9660 volume; a `Tree`."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._folders: dict[int, list[Entry]] = {}
        self._primary = b""
        self._catalog: int | None = None
        self._has_udf = False
        self._read_descriptors()

    def _read_descriptors(self) -> None:
        for number in _DESCRIPTORS:
            sector = self._media.read_at(number * SECTOR, SECTOR)
            kind, standard = sector[:1], sector[1:6]
            if standard == b"CD001" and kind == b"\x01" and not self._primary:
                self._primary = sector
            elif standard == b"CD001" and kind == b"\x00" and sector[7:39].rstrip(b"\x00") == _BOOT_SYSTEM:
                (self._catalog,) = struct.unpack_from("<I", sector, 71)
            elif standard in (b"NSR02", b"NSR03"):
                self._has_udf = True
            elif standard not in (b"CD001", b"BEA01", b"TEA01"):
                break
        if len(self._primary) < SECTOR:
            message = "there is no ISO 9660 volume descriptor"
            raise NotAnIso(message)

    @cached_property
    def volume(self) -> Volume:
        return Volume(
            id=_text(self._primary[40:72]),
            system=_text(self._primary[8:40]),
            has_udf=self._has_udf,
            firmware=tuple(sorted(self._platforms())),
            modified=_text(self._primary[830:846]),
        )

    def _platforms(self) -> set[str]:
        return {_PLATFORMS.get(platform, "") for platform, _ in self.boot_entries()} - {""}

    def boot_entries(self) -> Iterator[tuple[int, int]]:
        """The loaders in the boot catalog: the platform each is for, and where in the medium its entry lies."""
        if self._catalog is None:
            return
        start = self._catalog * SECTOR
        catalog = self._media.read_at(start, SECTOR)
        if len(catalog) < 64 or catalog[30:32] != b"\x55\xaa":
            return
        if catalog[32] == _BOOTABLE:
            yield catalog[1], start + 32
        at = 64
        while at + 32 <= len(catalog) and catalog[at] in (0x90, 0x91):
            header, platform, entries = struct.unpack_from("<BBH", catalog, at)
            for place in range(at + 32, min(at + 32 * (entries + 1), len(catalog) - 31), 32):
                if catalog[place] == _BOOTABLE:
                    yield platform, start + place
            at += 32 * (entries + 1)
            if header == 0x91:
                break

    @cached_property
    def _root(self) -> Entry:
        sector, size = struct.unpack_from("<I4xI", self._primary, 156 + 2)
        return Entry(name="", sector=sector, size=size, is_folder=True)

    def names(self, folder: str) -> list[str]:
        entry = self._find(folder)
        return [child.name for child in self._children(entry)] if entry and entry.is_folder else []

    def size(self, path: str) -> int | None:
        entry = self._find(path)
        return None if entry is None or entry.is_folder else entry.size

    def read(self, path: str, limit: int = LARGEST_TEXT) -> bytes | None:
        entry = self._find(path)
        if entry is None or entry.is_folder:
            return None
        return self._media.read_at(entry.sector * SECTOR, min(entry.size, limit))

    def place(self, path: str) -> int | None:
        entry = self._find(path)
        return None if entry is None or entry.is_folder else entry.sector * SECTOR

    def _find(self, path: str) -> Entry | None:
        entry = self._root
        for part in path.strip("/").split("/"):
            if not part:
                continue
            if not entry.is_folder:
                return None
            wanted = part.casefold()
            found = next((each for each in self._children(entry) if each.name.casefold() == wanted), None)
            if found is None:
                return None
            entry = found
        return entry

    def _children(self, folder: Entry) -> list[Entry]:
        if folder.sector not in self._folders:
            data = self._media.read_at(folder.sector * SECTOR, min(folder.size, _LARGEST_FOLDER))
            self._folders[folder.sector] = list(self._records(data))
        return self._folders[folder.sector]

    def _records(self, data: bytes) -> Iterator[Entry]:
        at = 0
        while at < len(data):
            length = data[at]
            if length == 0:  # records do not cross sectors
                at = (at // SECTOR + 1) * SECTOR
                continue
            record = data[at : at + length]
            at += length
            if len(record) < 34 or record[33:34] in (b"\x00", b"\x01"):
                continue
            sector, size = struct.unpack_from("<I4xI", record, 2)
            yield Entry(name=self._name(record), sector=sector, size=size, is_folder=bool(record[25] & 2))

    def _name(self, record: bytes) -> str:
        length = record[32]
        system_use = record[33 + length + (length + 1) % 2 :]
        if found := self._rock_ridge_name(system_use):
            return found
        plain = record[33 : 33 + length].decode("ascii", errors="replace").partition(";")[0]
        return plain.removesuffix(".")

    def _rock_ridge_name(self, area: bytes) -> str:
        name, areas = b"", [area]
        for _ in range(8):  # continuation areas; a real name needs one or two
            if not areas:
                break
            for tag, body in _system_use(areas.pop()):
                if tag == b"NM":
                    name += body[1:]
                elif tag == b"CE" and len(body) >= 24:
                    sector, offset, length = struct.unpack("<I4xI4xI4x", body[:24])
                    areas.append(self._media.read_at(sector * SECTOR + offset, min(length, SECTOR)))
        return name.decode(errors="replace")


def _system_use(area: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Fields of a system use area: tag, and what follows length and version."""
    at = 0
    while at + 4 <= len(area) and area[at + 2] >= 4:
        length = area[at + 2]
        yield area[at : at + 2], area[at + 4 : at + length]
        at += length


def _text(field: bytes) -> str:
    return field.decode("latin-1").rstrip("\x00 ").strip()


class Udf:
    """The UDF side of a medium; a `Tree`."""

    def __init__(self, media: Media) -> None:
        import pycdlib
        from pycdlib.pycdlibexception import PyCdlibException

        self._fault = PyCdlibException
        self._image = pycdlib.PyCdlib()
        try:
            self._image.open_fp(cast("BinaryIO", media))
        except Exception as error:  # pycdlib raises whatever its parsing comes to on a volume with faults
            message = f"its UDF volume cannot be read: {error}"
            raise NotAnIso(message) from error

    def names(self, folder: str) -> list[str]:
        path = self._real(folder)
        return self._listing(path) if path is not None else []

    def size(self, path: str) -> int | None:
        real = self._real(path)
        if real is None:
            return None
        record = self._image.get_record(udf_path=real)
        return None if record.is_dir() else int(record.get_data_length())

    def read(self, path: str, limit: int = LARGEST_TEXT) -> bytes | None:
        real = self._real(path)
        if real is None or self.size(path) is None:
            return None
        with self._image.open_file_from_iso(udf_path=real) as file:
            return bytes(file.read(limit))

    def place(self, path: str) -> int | None:
        real = self._real(path)
        inode = self._image.get_record(udf_path=real).inode if real and self.size(path) else None
        return None if inode is None else int(inode.fp_offset)

    def _real(self, path: str) -> str | None:
        """The path with the letter case that the medium has."""
        real = "/"
        for part in (part for part in path.split("/") if part):
            found = next((name for name in self._listing(real) if name.casefold() == part.casefold()), None)
            if found is None:
                return None
            real = f"{real.rstrip('/')}/{found}"
        return real

    def _listing(self, real: str) -> list[str]:
        try:
            children = [child for child in self._image.list_children(udf_path=real) if child is not None]
        except self._fault:
            return []
        return [_udf_name(child) for child in children if not (child.is_dot() or child.is_dotdot())]


def _udf_name(child: object) -> str:
    name: bytes = child.file_identifier()  # type: ignore[attr-defined]
    return name.decode("utf-8", errors="replace")


def open_tree(media: Media) -> tuple[Volume, Tree]:
    """The volume and its files: those of the UDF side where the ISO 9660 side only says that one is needed."""
    iso = Iso(media)
    if iso.volume.has_udf and len(iso.names("")) <= 2:
        return iso.volume, Udf(media)
    return iso.volume, iso


@contextmanager
def open_local(path: Path) -> Iterator[Media]:
    """A file of this machine."""
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, io.SEEK_END)

        def fetch(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        yield Media(fetch, size, most_blocks=1 << 30)
