"""Packer's QEMU builder, with the settings of someone who knows it and wants it fast."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from contestants import Contestant, logged
from order import CPUS, DISK_GIB, MEMORY_MIB, MOTD, PACKAGES, SCRIPT, SEAL, USER, Order

_AS_ROOT = "chmod +x {{ .Path }}; sudo {{ .Vars }} {{ .Path }}"


class Packer(Contestant):
    name = "Packer"

    def missing(self) -> str | None:
        return None if shutil.which("packer") else "packer"

    def version(self) -> str:
        printed = subprocess.run(["packer", "version"], capture_output=True, text=True, check=True).stdout
        return printed.split()[1].removeprefix("v")

    def make(self, order: Order, folder: Path, out: Path) -> None:
        made = folder / "packer"
        template = folder / "packer.json"
        template.write_text(json.dumps(_template(order, folder, made), indent=2))
        environment = {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(folder / "cache")}
        logged(["packer", "build", "-color=false", template], folder / "packer.log", environment=environment)
        (made / "image").rename(out)


def _template(order: Order, folder: Path, made: Path) -> dict[str, Any]:
    return {
        "builders": [_builder(order, folder, made)],
        "provisioners": [
            {"type": "shell", "execute_command": _AS_ROOT, "script": str(script)} for script in _scripts(order, folder)
        ],
    }


def _builder(order: Order, folder: Path, made: Path) -> dict[str, Any]:
    return {
        "type": "qemu",
        "accelerator": order.accelerator,
        "qemuargs": [["-cpu", "host" if order.accelerator == "kvm" else "max"]],
        "cpus": CPUS,
        "memory": MEMORY_MIB,
        "headless": True,
        "iso_url": order.base_disk.as_uri(),
        "iso_checksum": "none",
        "disk_image": True,
        # Debian's Packer cannot make backing files with QEMU 6.1 and later; its copy takes about a second
        "use_backing_file": False,
        "disk_size": f"{DISK_GIB}G",
        "disk_interface": "virtio",
        "disk_cache": "unsafe",
        "disk_discard": "unmap",
        "disk_compression": True,
        "net_device": "virtio-net",
        "format": "qcow2",
        "output_directory": str(made),
        "vm_name": "image",
        "cd_files": _seed(order, folder),
        "cd_label": "cidata",
        "boot_wait": "-1s",
        "communicator": "ssh",
        "ssh_username": "debian",
        "ssh_private_key_file": str(order.private_key),
        "ssh_clear_authorized_keys": True,
        "ssh_timeout": "15m",
        "shutdown_command": "sudo systemctl poweroff",
    }


def _seed(order: Order, folder: Path) -> list[str]:
    files = {
        "meta-data": "instance-id: bench\nlocal-hostname: bench\n",
        # one kind of host key: RSA keys take seconds to make under emulation
        "user-data": f"#cloud-config\nssh_genkeytypes: [ed25519]\nssh_authorized_keys: ['{order.public_key}']\n",
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    return [str(folder / name) for name in files]


def _scripts(order: Order, folder: Path) -> list[Path]:
    """Few scripts, since each is an upload and a session."""
    home = f"/home/{USER}"
    customize = f"""#!/bin/sh
set -eu
export DEBIAN_FRONTEND=noninteractive
printf %s {shlex.quote(MOTD)} >/etc/motd
apt-get -q update -o Acquire::Languages=none
apt-get -q -y -o Dpkg::Options::=--force-unsafe-io install {" ".join(PACKAGES)}
useradd --create-home --shell /bin/bash --groups sudo {USER}
install -d -m 0700 -o {USER} -g {USER} {home}/.ssh
printf '%s\\n' {shlex.quote(order.public_key)} >{home}/.ssh/authorized_keys
chown {USER}:{USER} {home}/.ssh/authorized_keys
chmod 0600 {home}/.ssh/authorized_keys
"""
    scripts = {"customize.sh": customize, "script.sh": SCRIPT, "seal.sh": SEAL}
    for name, content in scripts.items():
        (folder / name).write_text(content)
    return [folder / name for name in scripts]
