"""The programs of this machine that making a base disk needs, and the Debian packages they come in."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

SEARCH_PATH = os.pathsep.join(("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"))
"""Where programs are looked for: a plain user's PATH often lacks the sbin folders that hold mke2fs and sfdisk."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True, kw_only=True)
class MissingTool:
    """A program that is not installed here."""

    program: str
    package: str
    """The Debian package that brings it."""
    why: str


_NEEDED = (
    MissingTool(program="mmdebstrap", package="mmdebstrap", why="installs Debian's packages into a folder"),
    MissingTool(program="mke2fs", package="e2fsprogs", why="makes the root file system from that folder"),
    MissingTool(program="sfdisk", package="fdisk", why="writes the partition table"),
    MissingTool(program="mcopy", package="mtools", why="fills the EFI system partition"),
    MissingTool(program="qemu-img", package="qemu-utils", why="writes the disk as qcow2"),
    MissingTool(program="flock", package="util-linux", why="keeps two builds in one folder apart"),
)
_NEEDED_WITHOUT_ROOT = (
    MissingTool(program="newuidmap", package="uidmap", why="gives files their owners without being root"),
)
_KEYRING = MissingTool(
    program=str(KEYRING), package="debian-archive-keyring", why="checks the signatures of Debian's packages"
)


def missing_tools() -> list[MissingTool]:
    """What has to be installed here before `build` can work; empty when nothing is missing."""
    needed = _NEEDED if os.geteuid() == 0 else _NEEDED + _NEEDED_WITHOUT_ROOT
    missing = [tool for tool in needed if shutil.which(tool.program, path=SEARCH_PATH) is None]
    return missing if KEYRING.exists() else [*missing, _KEYRING]


def install_command(missing: list[MissingTool]) -> str:
    """The command that installs what is missing."""
    packages = " ".join(sorted({tool.package for tool in missing}))
    return f"apt-get install --yes --no-install-recommends {packages}"
