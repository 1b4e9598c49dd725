"""What makes each installer run unattended, and the files of its medium that have to change for it."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.iso import menus
from goldenpipe_steps.kit.iso.debian import DEBIAN_INSTALLER, SUBIQUITY
from goldenpipe_steps.kit.iso.medium import Medium
from goldenpipe_steps.kit.iso.reading import Tree
from goldenpipe_steps.kit.iso.suse import AUTOYAST

CONSOLE = "console=tty0 console=ttyS0,115200n8"
"""Progress and failures are read from the serial console; the last one named is where the installer talks."""
ANSWERS = "/goldpipe/answers.gz"
"""A cpio archive beside the medium's own initrd. A short name: isolinux reads plain ISO 9660."""
_GRUB_FOLDERS = ("boot/grub", "boot/grub/x86_64-efi", "boot/grub2", "EFI/BOOT", "EFI/debian", "EFI/ubuntu")
_ISOLINUX_FOLDERS = ("isolinux", "boot/isolinux", "syslinux", "boot/syslinux", "boot/x86_64/loader", "")
_ISOLINUX_NAMES = ("isolinux.cfg", "syslinux.cfg")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a family's installer is told to ask nothing."""

    name: str
    version: int
    """Counted up whenever the recipe makes another medium of the same ISO: what was made before is made anew."""
    words: str
    answers: bool = False
    """The answer file has to be in the initrd: no other medium is looked at for one."""


RECIPES = {
    # the answer file comes as cloud-init's volume cidata; without the word subiquity asks before it wipes the disk
    SUBIQUITY: Recipe(name=SUBIQUITY, version=1, words=f"autoinstall {CONSOLE}"),
    # preseed.cfg in the root of the initrd is read before the first question; as text, so that a log of it is readable
    DEBIAN_INSTALLER: Recipe(
        name=DEBIAN_INSTALLER,
        version=1,
        words=f"auto=true priority=critical DEBIAN_FRONTEND=text {CONSOLE}",
        answers=True,
    ),
    # linuxrc reads autoinst.xml from a volume labelled OEMDRV; the menu's own default is the hard disk
    AUTOYAST: Recipe(name=AUTOYAST, version=1, words=CONSOLE),
}
"""Anaconda is not here: it reads the kickstart of a volume labelled OEMDRV from the medium as it is."""


def cache_key(iso_sha256: str, recipe: Recipe, answers: str, more_words: str) -> str:
    """The same ISO, made the same way: whatever goes into the prepared medium is in its name."""
    parts = (iso_sha256, recipe.name, str(recipe.version), recipe.words, more_words, answers if recipe.answers else "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def changed_files(medium: Medium, tree: Tree, recipe: Recipe, answers: str, more_words: str = "") -> dict[str, bytes]:
    """The files to put on the medium, by path; those that are there are replaced."""
    words = f"{recipe.words} {more_words}".strip()
    initrds = []
    changes: dict[str, bytes] = {}
    if recipe.answers:
        initrds = [ANSWERS]
        changes[ANSWERS.lstrip("/")] = gzip.compress(cpio("preseed.cfg", answers.encode()), mtime=0)
    menu_changes = {**_grub_changes(tree, words, initrds), **_isolinux_changes(tree, words, initrds)}
    if not menu_changes:
        message = f"no boot menu of {medium.title} starts an installer: neither GRUB's nor isolinux's"
        raise Permanent(message, hint="Is this the distribution's own ISO, as it is published?")
    changes |= menu_changes
    return changes | _checksums(tree, changes)


def _grub_changes(tree: Tree, words: str, initrds: list[str]) -> dict[str, bytes]:
    changes: dict[str, bytes] = {}
    for path, text in _configurations(tree, _GRUB_FOLDERS):
        if menus.is_grub_menu(text) and (entry := menus.grub_entry(text)):
            changes[path] = menus.with_grub_default(text, entry, words, initrds).encode(errors="surrogateescape")
    return changes


def _isolinux_changes(tree: Tree, words: str, initrds: list[str]) -> dict[str, bytes]:
    changes: dict[str, bytes] = {}
    for folder in _ISOLINUX_FOLDERS:
        texts = dict(_configurations(tree, (folder,)))
        ours = [path for path in texts if path.rpartition("/")[2].lower() in _ISOLINUX_NAMES]
        if ours and (entry := menus.isolinux_entry(texts[path] for path in sorted(texts, key=_likely_first))):
            changes |= {
                path: menus.isolinux_menu(entry, words, initrds).encode(errors="surrogateescape") for path in ours
            }
    return changes


def _likely_first(path: str) -> tuple[bool, str]:
    """Debian's text installer is in txt.cfg, its graphical one in gtk.cfg."""
    name = path.rpartition("/")[2].lower()
    return name not in (*_ISOLINUX_NAMES, "txt.cfg"), name


def _configurations(tree: Tree, folders: tuple[str, ...]) -> list[tuple[str, str]]:
    found = {}
    for folder in folders:
        for name in tree.names(folder):
            if name.lower().endswith(".cfg"):
                path = f"{folder}/{name}".lstrip("/")
                found[path] = (tree.read(path) or b"").decode("utf-8", errors="surrogateescape")
    return list(found.items())


def _checksums(tree: Tree, changes: dict[str, bytes]) -> dict[str, bytes]:
    """Ubuntu's and Debian's list of checksums, which their media check themselves by."""
    text = tree.read("md5sum.txt", 16 << 20)
    if text is None:
        return {}
    sums = {path: hashlib.md5(content, usedforsecurity=False).hexdigest() for path, content in changes.items()}
    lines = []
    for line in text.decode(errors="surrogateescape").splitlines():
        match = re.fullmatch(r"([0-9a-f]{32})([ *]+)(?:\./)?(.+)", line)
        if match and match[3] in sums:
            line = line.replace(match[1], sums.pop(match[3]), 1)
        lines.append(line)
    lines += [f"{digest}  ./{path}" for path, digest in sums.items()]
    return {"md5sum.txt": ("\n".join(lines) + "\n").encode(errors="surrogateescape")}


def cpio(name: str, content: bytes) -> bytes:
    """An archive of one file, in the format that the kernel unpacks as an initrd."""
    return _member(name, content, 0o100600) + _member("TRAILER!!!", b"", 0)


def _member(name: str, content: bytes, mode: int) -> bytes:
    encoded = name.encode() + b"\0"
    numbers = (1 if mode else 0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
