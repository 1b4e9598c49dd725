"""Where a claim keeps what is in it: a virtual disk as qcow2, or a folder of plain files that Pods may mount."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DISK = "disk.qcow2"
FILES = "files"
"""The folder that a Pod sees at its mount path."""
RAW = "disk.img"
"""The file in it that is the disk or CD-ROM of a virtual machine, as CDI and KubeVirt name it."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a virtual machine gets of a claim."""

    path: Path
    format: str


def content_of(claim: Path) -> Content | None:
    """The disk in a claim's folder; None while there is none."""
    for path, form in ((claim / DISK, "qcow2"), (claim / FILES / RAW, "raw")):
        if path.exists():
            return Content(path=path, format=form)
    return None
