"""Installer ISOs with the file layout of each distribution's medium; only the large files are small."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Files = Mapping[str, bytes | str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A medium: its label, its files, and what can boot it."""

    label: str
    files: Files
    firmware: tuple[str, ...] = ("bios", "uefi")
    extra: tuple[str, ...] = field(default=())
    """More words for xorriso's mkisofs emulation."""


KERNEL, INITRD = b"kernel" * 99, b"initrd" * 99


def ubuntu(info: str, label: str, *, sources: bool = True, **files: str) -> Layout:
    casper: dict[str, bytes | str] = {"casper/vmlinuz": KERNEL, "casper/initrd": INITRD, "casper/x.squashfs": b"x"}
    if sources:
        casper["casper/install-sources.yaml"] = "- default: true\n  id: ubuntu-server\n"
    menu = "menuentry 'Try or Install' {\n\tlinux\t/casper/vmlinuz  ---\n\tinitrd\t/casper/initrd\n}\n"
    boot = {"boot/grub/grub.cfg": "set timeout=30\n" + menu, "boot/grub/loopback.cfg": menu}
    pool = {"dists/jammy/Release": "Suite: jammy\n", "pool/main/a/acl/acl_1_amd64.deb": b"x"}
    return Layout(label=label, files={".disk/info": info, **casper, **boot, **pool, **files})


def debian(info: str, label: str, **files: str) -> Layout:
    tree: dict[str, bytes | str] = {
        "install.amd/vmlinuz": KERNEL,
        "install.amd/initrd.gz": INITRD,
        "dists/bookworm/Release": "Suite: stable\n",
        "pool/main/a/acl/acl_1_amd64.deb": b"x",
        "isolinux/isolinux.cfg": "path \ninclude menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 0\n",
    }
    return Layout(label=label, files={".disk/info": info, ".disk/cd_type": "not_complete", **tree, **files})


def anaconda(label: str, *, treeinfo: str = "", packages: bool = True) -> Layout:
    files: dict[str, bytes | str] = {
        "images/install.img": b"squashfs",
        "images/pxeboot/vmlinuz": KERNEL,
        "images/pxeboot/initrd.img": INITRD,
        "isolinux/isolinux.cfg": "timeout 600\n",
        "EFI/BOOT/grub.cfg": "set timeout=60\n",
        "EFI/BOOT/BOOTX64.EFI": b"x",
        ".discinfo": "1700000000.0\n9.3\nx86_64\n",
    }
    if treeinfo:
        files[".treeinfo"] = treeinfo
    if packages:
        files["BaseOS/repodata/repomd.xml"] = "<repomd/>"
    return Layout(label=label, files=files)


def treeinfo(family: str, version: str, variant: str, arch: str = "x86_64") -> str:
    general = (
        f"arch = {arch}\nfamily = {family}\nname = {family} {version}\nplatforms = {arch},xen\nvariant = {variant}\n"
    )
    return f"[checksums]\nimages/install.img = sha256:{'0' * 64}\n\n[general]\n{general}version = {version}\n"


def suse(media: str, label: str, arch: str = "x86_64") -> Layout:
    files: dict[str, bytes | str] = {
        "media.1/media": f"{media.split('-')[0]} - {media}\n{media}\n1\n" if "SLE" in media else f"SUSE\n{media}\n1\n",
        "media.1/products": "/ openSUSE-Leap 15.5\n",
        f"boot/{arch}/loader/linux": KERNEL,
        f"boot/{arch}/loader/initrd": INITRD,
        f"boot/{arch}/loader/isolinux.cfg": "default harddisk\n",
        f"boot/{arch}/root": b"squashfs",
        "EFI/BOOT/grub.cfg": "timeout=60\n",
    }
    return Layout(label=label, files=files)


def windows(label: str = "CCCOMA_X64FRE_EN-US_DV9", **files: bytes) -> Layout:
    tree = {"sources/boot.wim": b"MSWIM", "sources/install.wim": b"MSWIM", "efi/boot/bootx64.efi": b"MZ", **files}
    return Layout(label=label, files={"bootmgr": b"x", "setup.exe": b"MZ", **tree})


UBUNTU_SERVER = ubuntu(
    'Ubuntu-Server 22.04.3 LTS "Jammy Jellyfish" - Release amd64 (20230810)', "Ubuntu-Server 22.04.3 LTS amd64"
)
UBUNTU_DESKTOP = ubuntu('Ubuntu 24.04.1 LTS "Noble Numbat" - Release amd64 (20240827.1)', "Ubuntu 24.04.1 LTS amd64")
UBUNTU_OLD_DESKTOP = ubuntu(
    'Ubuntu 22.04.3 LTS "Jammy Jellyfish" - Release amd64 (20230807.2)', "Ubuntu 22.04.3 LTS amd64", sources=False
)
DEBIAN_NETINST = debian(
    'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27', "Debian 12.5.0 amd64 n"
)
RHEL = anaconda("RHEL-9-3-0-BaseOS-x86_64", treeinfo=treeinfo("Red Hat Enterprise Linux", "9.3", "BaseOS"))
LEAP = suse("openSUSE-Leap-15.5-DVD-x86_64-Build491.1", "openSUSE-Leap-15.5-DVD-x86_64")


def make_iso(path: Path, layout: Layout, folder: Path) -> Path:
    """The ISO, with boot images that are only there."""
    for name, content in layout.files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    words = []
    if "bios" in layout.firmware:
        (folder / "bios.img").write_bytes(b"\0" * 2048)
        words += ["-b", "bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    if layout.firmware == ("bios", "uefi"):
        words += ["-eltorito-alt-boot"]
    if "uefi" in layout.firmware:
        (folder / "efi.img").write_bytes(b"\0" * 2048)
        words += ["-e", "efi.img", "-no-emul-boot"]
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-joliet-long", "-V", layout.label[:32]]
    done = subprocess.run([*command, *words, *layout.extra, "-o", path, folder], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return path
