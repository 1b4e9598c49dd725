"""virt-customize: changes the disk from outside, in an appliance, without booting its system."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from contestants import Contestant, logged
from order import CPUS, MEMORY_MIB, MOTD, PACKAGES, SCRIPT, SEAL, USER, Order


class VirtCustomize(Contestant):
    name = "virt-customize"

    def missing(self) -> str | None:
        if not shutil.which("virt-customize"):
            return "guestfs-tools"
        return (
            None if any(Path("/boot").glob("vmlinuz-*")) else "linux-image-cloud-amd64 (its appliance needs a kernel)"
        )

    def version(self) -> str:
        printed = subprocess.run(["virt-customize", "--version"], capture_output=True, text=True, check=True).stdout
        return printed.split()[-1]

    def make(self, order: Order, folder: Path, out: Path) -> None:
        log = folder / "virt-customize.log"
        disk, script, seal, key = (folder / name for name in ("disk.qcow2", "script.sh", "seal.sh", "key.pub"))
        logged(["cp", "--reflink=auto", "--sparse=always", order.base_disk, disk], log)
        for path, content in ((script, SCRIPT), (seal, SEAL), (key, f"{order.public_key}\n")):
            path.write_text(content)
        command: list[str | Path] = [
            *("virt-customize", "--no-logfile", "--smp", str(CPUS), "--memsize", str(MEMORY_MIB), "-a", disk),
            *("--write", f"/etc/motd:{MOTD}", "--install", ",".join(PACKAGES)),
            *("--run-command", f"useradd --create-home --shell /bin/bash --groups sudo {USER}"),
            *("--ssh-inject", f"{USER}:file:{key}", "--run", script, "--run", seal),
        ]
        environment = {"LIBGUESTFS_BACKEND": "direct"}
        if order.accelerator == "tcg":
            environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
        logged(command, log, environment=environment)
        logged(["qemu-img", "convert", "-c", "-O", "qcow2", disk, out], log)
