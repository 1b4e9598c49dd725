"""Looking at a disk from outside, with tools that are not ours: qemu-img, sfdisk and debugfs; nothing is mounted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path


class Disk:
    """The ext4 root file system of a disk image."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._raw = folder / f"{image.stem}.raw"
        _run("qemu-img", "convert", "-O", "raw", str(image), str(self._raw))
        table = json.loads(_run("sfdisk", "--json", str(self._raw)))["partitiontable"]
        sector = int(table.get("sectorsize", 512))
        root = max(table["partitions"], key=lambda partition: int(partition["size"]))
        self._file_system = f"{self._raw}?offset={int(root['start']) * sector}"

    def read(self, path: str) -> str | None:
        """The text of a file; None where there is none."""
        found = self._debugfs(f"stat {path}")
        return None if "File not found" in found else self._debugfs(f"cat {path}")

    def names(self, folder: str) -> set[str]:
        """What a folder holds; empty where there is none."""
        lines = self._debugfs(f"ls -p {folder}").splitlines()
        fields = [line.split("/") for line in lines if line.startswith("/")]
        return {field[5] for field in fields} - {".", ".."}

    def mode(self, path: str) -> tuple[int, int, int]:
        """Mode, user and group of a path."""
        words = self._debugfs(f"stat {path}").split()
        at = {name: words[words.index(f"{name}:") + 1] for name in ("Mode", "User", "Group")}
        return int(at["Mode"], 8) & 0o7777, int(at["User"]), int(at["Group"])

    def _debugfs(self, request: str) -> str:
        done = subprocess.run(
            ["debugfs", "-R", request, self._file_system], capture_output=True, text=True, check=True, env=_PATH
        )
        return done.stdout + "\n".join(line for line in done.stderr.splitlines() if "not found" in line)


_PATH = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env=_PATH).stdout
