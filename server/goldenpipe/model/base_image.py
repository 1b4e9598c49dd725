"""What the base image is: told from its first bytes where they could be read, else from its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

Kind = Literal["disk", "iso"]

HEAD_BYTES = 65536
"""Enough for the ISO 9660 volume descriptor, which lies at 32768."""
_DESCRIPTOR = 32768
_DESKTOP = re.compile(r"(?P<flavour>[a-z]*buntu)-(?P<version>\d\d\.\d\d)[\d.]*-desktop", re.IGNORECASE)
_LABEL = re.compile(r"[A-Z]?[a-z]*buntu (?P<version>\d\d\.\d\d)")
_FIRST_DESKTOP = "23.04"
"""The first Ubuntu desktop that installs by subiquity; before it was ubiquity, which knows no autoinstall."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """What is known of the base image before anything is downloaded."""

    kind: Kind
    size: int | None = None
    """Bytes of the file, where its server has told."""
    fault: str = ""
    """Why nothing can be built from it, for the one who asked."""


def base_by_name(url_path: str) -> Base:
    name = unquote(url_path).rpartition("/")[2]
    kind: Kind = "iso" if name.lower().endswith(".iso") else "disk"
    return Base(kind=kind, fault=_desktop_fault(_DESKTOP.search(name)) if kind == "iso" else "")


def base_by_content(head: bytes, size: int | None, url_path: str) -> Base:
    """Where the head is too short to tell, the name does."""
    if len(head) < _DESCRIPTOR + 6:
        return base_by_name(url_path)
    if head[_DESCRIPTOR + 1 : _DESCRIPTOR + 6] != b"CD001":
        return Base(kind="disk", size=size)
    label = head[_DESCRIPTOR + 40 : _DESCRIPTOR + 72].decode("latin-1").strip()
    return Base(kind="iso", size=size, fault=_desktop_fault(_LABEL.match(label)))


def _desktop_fault(match: re.Match[str] | None) -> str:
    if match is None or match["version"] >= _FIRST_DESKTOP:
        return ""
    version = match["version"]
    return (
        f"is a desktop ISO of Ubuntu {version}, whose installer cannot run unattended (desktops can from "
        f"{_FIRST_DESKTOP} on); name the live-server ISO of {version} and ask for the package ubuntu-desktop, "
        "or name the cloud image from https://cloud-images.ubuntu.com"
    )
