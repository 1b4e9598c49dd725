"""What every contestant is asked to make, and what must then be in the image."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

USER = "ada"
MOTD = "This machine was made for a benchmark.\n"
PACKAGES = ("jq", "tree")
SCRIPT = """#!/bin/sh
set -eu
jq --null-input --raw-output '"the packages were there before the script"' >/etc/bench-script
"""
CPUS = 2
MEMORY_MIB = 1024
DISK_GIB = 4

SEAL = """#!/bin/sh
set -eu
apt-get clean
rm -rf /var/lib/apt/lists/* /tmp/* /var/tmp/*
cloud-init clean --logs --seed
rm -f /etc/ssh/ssh_host_*
find /var/log -type f -delete
truncate --size 0 /etc/machine-id
fstrim --all || true
"""
"""What GoldenPipe does by itself and the others have to be told: an image without the traces of its making."""


class ContestantFailed(Exception):
    """A tool made no image, or not the one that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One image to be made."""

    base_disk: Path
    public_key: str
    private_key: Path
    accelerator: str
    """`kvm` or `tcg`, the same for all."""


def check_image(disk: Path, order: Order, folder: Path) -> None:
    """Looks into the image from outside: what is faster because it leaves something out does not count."""
    raw = folder / "look-inside.raw"
    run("qemu-img", "convert", "-O", "raw", disk, raw)
    try:
        table = json.loads(run("sfdisk", "--json", raw))["partitiontable"]
        root = max(table["partitions"], key=lambda partition: int(partition["size"]))
        file_system = f"{raw}?offset={root['start'] * table['sectorsize']}"
        keys = f"/home/{USER}/.ssh/authorized_keys"
        for path, expected in (
            ("/etc/motd", MOTD),
            ("/etc/bench-script", "the packages were there before the script"),
            (keys, order.public_key),
            ("/var/lib/dpkg/info/tree.list", "/usr/bin/tree"),
        ):
            if expected not in run("debugfs", "-R", f"cat {path}", file_system):
                raise ContestantFailed(f"{path} is not in the image as it was asked for")
        if run("debugfs", "-R", "cat /etc/machine-id", file_system).strip():
            raise ContestantFailed("the image is not sealed: /etc/machine-id is not empty")
    finally:
        raw.unlink(missing_ok=True)


def run(*command: str | Path) -> str:
    """What a program prints."""
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    return ended.stdout
