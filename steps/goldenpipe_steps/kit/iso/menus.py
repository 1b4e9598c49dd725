"""Boot menus of installer media, for GRUB and for isolinux: the installer's entry is found and made the one that boots.

GRUB runs a whole configuration before it shows the menu, so an entry and a default put at the end win over all before.
isolinux is given a configuration that boots at once. The entry is the medium's own, with other words for the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_GRUB_LINUX = re.compile(r"^\s*(\$?linux(?:efi|16)?)\s+(\S+)\s*(.*)$")
_GRUB_INITRD = re.compile(r"^\s*(\$?initrd(?:efi|16)?)\s+(.+?)\s*$")
_GRUB_ENTRY = re.compile(r"^\s*(?:menuentry|submenu)\b")
_NOT_THE_INSTALLER = re.compile(
    r"gtk|rescue|memtest|upgrade|mediacheck|\bcheck\b|expert|hwe-|speakup|theme=", re.IGNORECASE
)
_ONLY_LOOKS = {"quiet", "splash", "splash=silent", "vga=788", "showopts"}
"""Words that hide what the kernel says."""
_TARGET = re.compile(r"---?")
"""Ubuntu's and Debian's installers give the words behind it to the installed system."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a menu starts an installer."""

    kernel: str
    initrds: tuple[str, ...]
    words: str
    linux_command: str = "linux"
    initrd_command: str = "initrd"


def command_line(entry: Entry, added: str) -> str:
    """The medium's own words without those that hide messages, ours before the `---`."""
    before, mark, behind = entry.words, "", ""
    for part in entry.words.split():
        if _TARGET.fullmatch(part):
            before, mark, behind = entry.words.partition(part)
            break
    words = [word for word in before.split() if word not in _ONLY_LOOKS] + added.split()
    rest = [word for word in behind.split() if word not in _ONLY_LOOKS]
    return " ".join([*words, *([mark] if mark else []), *rest])


def grub_entry(text: str) -> Entry | None:
    """The first entry that starts an installer."""
    return _first_installer(_grub_entries(text))


def is_grub_menu(text: str) -> bool:
    return any(_GRUB_ENTRY.match(line) for line in text.splitlines())


def with_grub_default(text: str, entry: Entry, added: str, more_initrds: Iterable[str] = ()) -> str:
    """The configuration with our entry at its end, booted after a second."""
    initrds = " ".join([*entry.initrds, *more_initrds])
    return (
        f"{text.rstrip()}\n\n# GoldenPipe: the installer, unattended\n"
        'menuentry "Unattended installation" --id goldenpipe {\n'
        f"  {entry.linux_command} {entry.kernel} {command_line(entry, added)}\n"
        f"  {entry.initrd_command} {initrds}\n"
        "}\n"
        "set default=goldenpipe\nset timeout_style=menu\nset timeout=1\n"
    )


def _grub_entries(text: str) -> Iterator[Entry]:
    found: re.Match[str] | None = None
    for line in text.splitlines():
        if _GRUB_ENTRY.match(line):
            found = None
        elif match := _GRUB_LINUX.match(line):
            found = match
        elif found and (match := _GRUB_INITRD.match(line)):
            yield Entry(
                kernel=found[2],
                initrds=tuple(match[2].split()),
                words=found[3],
                linux_command=found[1],
                initrd_command=match[1],
            )
            found = None


def isolinux_entry(texts: Iterable[str]) -> Entry | None:
    """The first label that starts an installer, over the files of one folder in order."""
    return _first_installer(entry for text in texts for entry in _isolinux_entries(text))


def isolinux_menu(entry: Entry, added: str, more_initrds: Iterable[str] = ()) -> str:
    """A configuration that boots the entry at once."""
    initrds = ",".join([*entry.initrds, *more_initrds])
    return (
        "# GoldenPipe: the installer, unattended\n"
        "serial 0 115200\ndefault goldenpipe\nprompt 0\ntimeout 0\n"
        f"label goldenpipe\n  kernel {entry.kernel}\n  append initrd={initrds} {command_line(entry, added)}\n"
    )


def _isolinux_entries(text: str) -> Iterator[Entry]:
    for block in re.split(r"(?im)^\s*label\s+", text)[1:]:
        values: dict[str, str] = {}
        for line in block.splitlines()[1:]:
            key, _, value = line.strip().partition(" ")
            values.setdefault(key.lower(), value.strip())
        kernel = values.get("kernel") or values.get("linux") or ""
        words = values.get("append", "").split()
        initrds = values.get("initrd") or next((word[7:] for word in words if word.startswith("initrd=")), "")
        if kernel and initrds:
            rest = " ".join(word for word in words if not word.startswith("initrd="))
            yield Entry(kernel=kernel, initrds=tuple(initrds.split(",")), words=rest)


def _first_installer(entries: Iterable[Entry]) -> Entry | None:
    for entry in entries:
        if not _NOT_THE_INSTALLER.search(" ".join([entry.kernel, *entry.initrds, entry.words])):
            return entry
    return None
