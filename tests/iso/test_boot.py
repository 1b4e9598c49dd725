"""Prepared media boot by BIOS and by UEFI, and their kernel gets the words and the answers that it needs."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from goldenpipe_steps.kit.iso.looking import look_at_file
from goldenpipe_steps.kit.iso.remaster import PREPARED, prepare
from goldenpipe_steps.kit.iso.unattended import RECIPES
from support.bootable import Bootable, booted, make_bootable, missing

pytestmark = [pytest.mark.iso, pytest.mark.skipif(bool(missing()), reason=f"needs {', '.join(missing())}")]

CONSOLE = "console=tty0 console=ttyS0,115200n8"
UBUNTU_MENU = """\
set timeout=30
menuentry "Try or Install Ubuntu Server" {
\tset gfxpayload=keep
\tlinux\t/casper/vmlinuz  ---
\tinitrd\t/casper/initrd
}
menuentry 'Test memory' {
\tlinux16 /boot/memtest86+.bin
}
"""
SERVER = Bootable(
    label="Ubuntu-Server 22.04.3 LTS amd64",
    mark=".disk/info",
    kernel="casper/vmlinuz",
    initrd="casper/initrd",
    files={
        ".disk/info": 'Ubuntu-Server 22.04.3 LTS "Jammy Jellyfish" - Release amd64 (20230810)',
        "casper/install-sources.yaml": "- id: ubuntu-server\n",
        "boot/grub/grub.cfg": UBUNTU_MENU,
        "boot/grub/loopback.cfg": UBUNTU_MENU.partition("\n")[2],
        "md5sum.txt": "",
    },
)
DESKTOP = Bootable(
    label="Ubuntu 24.04.1 LTS amd64",
    mark=".disk/info",
    kernel="casper/vmlinuz",
    initrd="casper/initrd",
    files={
        **SERVER.files,
        ".disk/info": 'Ubuntu 24.04.1 LTS "Noble Numbat" - Release amd64 (20240827.1)',
        "boot/grub/grub.cfg": UBUNTU_MENU.replace("  ---", " --- quiet splash"),
    },
)
FOCAL = Bootable(
    label="Ubuntu-Server 20.04.6 LTS amd64",
    mark=".disk/info",
    kernel="casper/vmlinuz",
    initrd="casper/initrd",
    isolinux_folder="isolinux",
    files={
        ".disk/info": 'Ubuntu-Server 20.04.6 LTS "Focal Fossa" - Release amd64 (20230314)',
        "boot/grub/grub.cfg": UBUNTU_MENU.replace("  ---", " quiet  ---"),
        "isolinux/isolinux.cfg": "path \ninclude menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 50\n",
        "isolinux/txt.cfg": "default live\nlabel live\n  menu label ^Install Ubuntu Server\n  kernel /casper/vmlinuz\n"
        "  append   initrd=/casper/initrd quiet  ---\nlabel memtest\n  kernel /install/mt86plus\n",
    },
)
DEBIAN_ENTRY = (
    "menuentry --hotkey={key} '{name}' {{\n  linux /install.amd/vmlinuz vga=788 --- quiet\n  initrd {initrd}\n}}\n"
)
DEBIAN = Bootable(
    label="Debian 12.5.0 amd64 n",
    mark=".disk/info",
    kernel="install.amd/vmlinuz",
    initrd="install.amd/initrd.gz",
    isolinux_folder="isolinux",
    files={
        ".disk/info": 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27',
        "install.amd/gtk/initrd.gz": b"the graphical one",
        "dists/bookworm/Release": "Suite: stable\n",
        "pool/main/a/acl.deb": b"x",
        "boot/grub/grub.cfg": "if loadfont $prefix/font.pf2 ; then\n  set gfxmode=800x600\nfi\n"
        + DEBIAN_ENTRY.format(key="g", name="Graphical install", initrd="/install.amd/gtk/initrd.gz")
        + DEBIAN_ENTRY.format(key="i", name="Install", initrd="/install.amd/initrd.gz"),
        "isolinux/isolinux.cfg": "path \ninclude menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 0\n",
        "isolinux/gtk.cfg": "default installgui\nlabel installgui\n\tkernel /install.amd/vmlinuz\n"
        "\tappend vga=788 initrd=/install.amd/gtk/initrd.gz --- quiet\n",
        "isolinux/txt.cfg": "label install\n\tmenu label ^Install\n\tkernel /install.amd/vmlinuz\n"
        "\tappend vga=788 initrd=/install.amd/initrd.gz --- quiet\n",
    },
)
LEAP = Bootable(
    label="openSUSE-Leap-15.5-DVD-x86_64",
    mark="boot/x86_64/loader/linux",
    kernel="boot/x86_64/loader/linux",
    initrd="boot/x86_64/loader/initrd",
    grub_folder="EFI/BOOT",
    isolinux_folder="boot/x86_64/loader",
    files={
        "media.1/media": "SUSE\nopenSUSE-Leap-15.5-DVD-x86_64-Build491.1\n1\n",
        "boot/x86_64/loader/isolinux.cfg": "default harddisk\nlabel harddisk\n  localboot -2\nlabel linux\n"
        "  kernel linux\n  append initrd=initrd splash=silent showopts\nimplicit 1\nprompt 1\ntimeout 600\n",
        "EFI/BOOT/grub.cfg": "default=0\ntimeout=60\nmenuentry 'Boot from Hard Disk' {\n  exit\n}\n"
        "menuentry 'Installation' {\n  linux /boot/x86_64/loader/linux splash=silent\n"
        "  initrd /boot/x86_64/loader/initrd\n}\n",
    },
)
PRESEED = "d-i debian-installer/locale string en_US"
DEBIAN_WORDS = f"auto=true priority=critical DEBIAN_FRONTEND=text {CONSOLE} ---"
CASES = {
    "ubuntu-server": (SERVER, f"autoinstall {CONSOLE} ---"),
    "ubuntu-desktop": (DESKTOP, f"autoinstall {CONSOLE} ---"),
    "ubuntu-20.04": (FOCAL, f"autoinstall {CONSOLE} ---"),
    "debian": (DEBIAN, DEBIAN_WORDS),
    "leap": (LEAP, CONSOLE),
}


def layout(iso: Path) -> str:
    """How it boots, in xorriso's words; where things lie and how large they are may differ."""
    command = ["xorriso", "-indev", str(iso), "-report_el_torito", "plain", "-report_system_area", "plain"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept = [line for line in told.splitlines() if line.startswith(("El Torito boot img", "System area summary"))]
    return "\n".join(" ".join(re.sub(r"0x\S+|\b\d+\b", "", line).split()) for line in kept)


@pytest.mark.parametrize("name", CASES)
async def test_a_prepared_medium_boots_unattended_by_bios_and_by_uefi(tmp_path: Path, name: str) -> None:
    medium, words = CASES[name]
    original = await asyncio.to_thread(make_bootable, tmp_path / "original.iso", medium, tmp_path / "tree")
    looked = look_at_file(original, name).medium
    recipe = RECIPES[looked.installer]
    (tmp_path / "prepared").mkdir()
    made = await prepare(original, tmp_path / "prepared", recipe, answers=PRESEED, words="", progress=print)
    prepared = tmp_path / "prepared" / PREPARED
    assert made
    assert layout(prepared) == layout(original)
    for firmware in ("bios", "uefi"):
        said = await booted(prepared, firmware)
        line = [word for word in said["CMDLINE"].split() if not word.startswith(("BOOT_IMAGE=", "initrd="))]
        assert " ".join(line) == words, firmware
        assert said["ANSWERS"] == (PRESEED if recipe.answers else ""), firmware
