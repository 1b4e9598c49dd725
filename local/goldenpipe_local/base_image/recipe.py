"""What is in a base disk: the packages of each distribution, and the few files that are not from a package."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal, get_args

from goldenpipe_local.base_image import grub
from goldenpipe_local.base_image.layout import Layout

Distribution = Literal["debian-12", "debian-13"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)

_PACKAGES = (
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "curl",
    "dbus",
    "e2fsprogs",
    "fdisk",
    "grub-cloud-amd64",
    "iproute2",
    "iputils-ping",
    "less",
    "linux-image-cloud-amd64",
    "netbase",
    "openssh-server",
    "qemu-guest-agent",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
    "zstd",
)
"""No netplan: cloud-init writes systemd-networkd's files itself then, without starting a second interpreter."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One distribution."""

    name: Distribution
    codename: str
    packages: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Changes whenever a disk made now would differ from one made before for a reason of ours."""
        digest = hashlib.sha256("\n".join((self.codename, *self.packages, finish_script())).encode())
        for path, content in sorted(_package_files()):
            digest.update(f"{path}\n{content}".encode())
        return digest.hexdigest()[:12]


_RECIPES: Mapping[Distribution, Recipe] = {
    "debian-12": Recipe(name="debian-12", codename="bookworm", packages=_PACKAGES),
    "debian-13": Recipe(name="debian-13", codename="trixie", packages=(*_PACKAGES, "systemd-repart")),
}


def recipe_for(distribution: Distribution) -> Recipe:
    """What a disk of this distribution is made of."""
    return _RECIPES[distribution]


def finish_script() -> str:
    """The shell script that runs in the root when all packages are in it."""
    modules = f"GRUB_MODULES='{' '.join(grub.BIOS_MODULES)}'\n"
    return modules + (files(__package__) / "finish.sh").read_text()


def overlay(layout: Layout) -> bytes:
    """A tar archive of the files that are not from a package, owned by root whatever they are owned by here."""
    contents = {**dict(_package_files()), **_layout_files(layout)}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content in sorted(contents.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content.encode()), 0o755 if content.startswith("#!") else 0o644
            archive.addfile(member, io.BytesIO(content.encode()))
    return stream.getvalue()


def _package_files() -> list[tuple[str, str]]:
    def walk(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
        found = []
        for entry in folder.iterdir():
            path = f"{prefix}{entry.name}"
            found += walk(entry, f"{path}/") if entry.is_dir() else [(path, entry.read_text())]
        return found

    return walk(files(__package__) / "rootfs", "")


def _layout_files(layout: Layout) -> Mapping[str, str]:
    root, efi = layout.root_filesystem, f"{layout.efi_serial >> 16:04X}-{layout.efi_serial & 0xFFFF:04X}"
    return {
        "etc/fstab": (
            f"UUID={root} / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n"
            f"UUID={efi} /boot/efi vfat umask=0077,noauto,nofail,x-systemd.automount 0 0\n"
        ),
        "boot/grub/i386-pc/load.cfg": grub.find_root(layout),
        # until the guest's first update-grub, which writes the same with the kernel's version in it
        "boot/grub/grub.cfg": (
            "serial --unit=0 --speed=115200\n"
            "terminal_output console serial\n"
            f"search --no-floppy --fs-uuid --set=root {root}\n"
            f"linux /vmlinuz root=UUID={root} ro console=tty0 console=ttyS0,115200\n"
            "initrd /initrd.img\n"
            "boot\n"
        ),
    }
