"""What is on a Windows medium, told by the catalogue in its install.wim, and how it boots without a key being pressed.

Microsoft's media carry both loaders: one that waits for a key, and `efisys_noprompt.bin`, which does not. The boot
record of the ISO says where the loader lies, so four bytes of it make the other one start; nothing is written anew.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.iso.media import Media
from goldenpipe_steps.kit.iso.reading import SECTOR, Iso, Tree, open_local, open_tree
from goldenpipe_steps.kit.log import some

IMAGES = ("sources/install.wim", "sources/install.esd", "sources/install.swm")
LOADER = "efi/microsoft/boot/efisys_noprompt.bin"
_UEFI = 0xEF
_HEADER = 208
_MOST_XML = 4 << 20
_RELEASES = (
    (26100, "Windows Server 2025", "2k25", "Windows 11", "w11"),
    (22000, "Windows Server 2022", "2k22", "Windows 11", "w11"),
    (20348, "Windows Server 2022", "2k22", "Windows 11", "w11"),
    (17763, "Windows Server 2019", "2k19", "Windows 10", "w10"),
    (14393, "Windows Server 2016", "2k16", "Windows 10", "w10"),
)
"""From which build on it is which release, and which folder of the virtio drivers' ISO is for it."""
_USUAL = ("ServerStandard", "Professional", "ServerDatacenter", "Enterprise")
"""What is installed if the request names no edition, the first of these that is there; servers with their desktop."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One Windows that can be installed from the medium."""

    index: int
    name: str
    edition: str
    kind: str
    """Client, Server, or Server Core."""
    build: int
    languages: tuple[str, ...]

    @property
    def is_server(self) -> bool:
        return self.kind.startswith("Server")

    @property
    def release(self) -> tuple[str, str]:
        """What this is called, and its folder of the virtio drivers."""
        for build, server, server_drivers, client, drivers in _RELEASES:
            if self.build >= build:
                return (server, server_drivers) if self.is_server else (client, drivers)
        return "a Windows before 10", "w10"


def images_of(media: Media, tree: Tree) -> list[Image]:
    """All that the medium can install."""
    path = next((path for path in IMAGES if tree.size(path)), None)
    place = tree.place(path) if path else None
    if path is None or place is None:
        message = "there is no install.wim or install.esd in the folder sources of the ISO"
        raise Permanent(message, hint="Give the full ISO that Microsoft offers for download.")
    header = media.read_at(place, _HEADER)
    if len(header) < _HEADER or header[:8] not in (b"MSWIM\0\0\0", b"WLPWM\0\0\0"):
        message = f"{path} on the ISO is no Windows image: it does not begin with MSWIM"
        raise Permanent(message, hint="Is the ISO whole? Compare it with the published checksum.")
    size = int.from_bytes(header[72:79], "little")
    (offset,) = struct.unpack_from("<Q", header, 80)
    if size > _MOST_XML:
        message = f"the catalogue of {path} is {size} bytes long, far more than any Windows image's"
        raise Permanent(message)
    try:
        root = ElementTree.fromstring(media.read_at(place + offset, size).decode("utf-16"))
        return [_image(found) for found in root.iter("IMAGE")]
    except (ElementTree.ParseError, UnicodeError, ValueError) as error:
        message = f"the catalogue of {path} cannot be read: {error}"
        raise Permanent(message, hint="Is the ISO whole? Compare it with the published checksum.") from error


def _image(found: ElementTree.Element) -> Image:
    def text(path: str) -> str:
        return (found.findtext(path) or "").strip()

    return Image(
        index=int(found.get("INDEX") or 0),
        name=text("NAME") or text("DISPLAYNAME"),
        edition=text("WINDOWS/EDITIONID"),
        kind=text("WINDOWS/INSTALLATIONTYPE"),
        build=int(text("WINDOWS/VERSION/BUILD") or 0),
        languages=tuple((language.text or "").strip() for language in found.iter("LANGUAGE")),
    )


def choose(images: list[Image], wanted: str, locale: str) -> Image:
    """The edition that is asked for, by its name, its id or its number on the medium; else the usual one."""
    if wanted:
        same = [image for image in images if wanted.lower() in (image.name.lower(), image.edition.lower())]
        same = same or [image for image in images if wanted == str(image.index)]
        if not same:
            names = some([image.name for image in images], 20)
            message = f"the ISO holds no edition {wanted!r}"
            raise Permanent(message, hint=f"Say as windows.edition one of: {names}.")
    else:
        same = [image for edition in _USUAL for image in images if image.edition == edition] or images
    image = next((image for image in same if "Core" not in image.kind), same[0])
    if image.languages and locale and locale not in image.languages:
        message = f"{image.name} on the ISO has the language {some(list(image.languages))}, not {locale}"
        raise Permanent(message, hint="Say it as windows.locale, or give the ISO in the other language.")
    return image


def look(path: Path, wanted: str, locale: str) -> dict[str, str | int]:
    """Facts for the answer file (blocking)."""
    with open_local(path) as media:
        _, tree = open_tree(media)
        image = choose(images_of(media, tree), wanted, locale)
    release, drivers = image.release
    return {
        "iso_version": release,
        "iso_title": f"{image.name or release}, build {image.build}",
        "iso_image_index": image.index,
        "iso_drivers": drivers,
    }


def boot_without_key(path: Path) -> bool:
    """Change the ISO in its place so that UEFI starts the loader that waits for nobody (blocking); False if it does."""
    with open_local(path) as media:
        _, tree = open_tree(media)
        change = _change(media, tree)
    if change is None:
        return False
    place, data = change
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return True


def _change(media: Media, tree: Tree) -> tuple[int, bytes] | None:
    """Where to write what; None if it is written already."""
    loader = tree.place(LOADER)
    if loader is None or loader % SECTOR:
        message = f"the ISO has no {LOADER}, so it waits for a key before it boots"
        raise Permanent(message, hint="Give Microsoft's own ISO; oscdimg makes one with -pEF,e,befisys_noprompt.bin.")
    if media.read_at(loader + 510, 2) != b"\x55\xaa":
        message = f"{LOADER} on the ISO is no boot image"
        raise Permanent(message, hint="Is the ISO whole? Compare it with the published checksum.")
    entries = [place for platform, place in Iso(media).boot_entries() if platform == _UEFI]
    if not entries:
        message = "the ISO has no boot record for UEFI, and build VMs of Windows have no BIOS"
        raise Permanent(message, hint="Give Microsoft's own ISO for x64.")
    address = struct.pack("<I", loader // SECTOR)
    place = entries[0] + 8
    return None if media.read_at(place, 4) == address else (place, address)
