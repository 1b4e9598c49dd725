"""Boot menus as distributions ship them: the installer's entry is found, and boots with our words."""

from __future__ import annotations

import pytest

from goldenpipe_steps.kit.iso.menus import command_line, grub_entry, isolinux_entry, isolinux_menu, with_grub_default

UBUNTU = """\
set timeout=30

loadfont unicode
menuentry "Try or Install Ubuntu Server" {
	set gfxpayload=keep
	linux	/casper/vmlinuz  ---
	initrd	/casper/initrd
}
menuentry 'Ubuntu Server with the HWE kernel' {
	set gfxpayload=keep
	linux	/casper/hwe-vmlinuz  ---
	initrd	/casper/hwe-initrd
}
if [ "$grub_platform" = "efi" ]; then
menuentry 'UEFI Firmware Settings' {
	fwsetup
}
else
menuentry 'Test memory' {
	linux16 /boot/memtest86+.bin
}
fi
"""
DESKTOP = """\
menuentry "Try or Install Ubuntu" {
	linux	/casper/vmlinuz layerfs-path=minimal.standard.live.squashfs --- quiet splash
	initrd	/casper/initrd
}
"""
DEBIAN = """\
if loadfont $prefix/font.pf2 ; then
  set gfxmode=800x600
fi
menuentry --hotkey=g 'Graphical install' {
    set background_color=black
    linux    /install.amd/vmlinuz vga=788 --- quiet
    initrd   /install.amd/gtk/initrd.gz
}
menuentry --hotkey=i 'Install' {
    set background_color=black
    linux    /install.amd/vmlinuz vga=788 --- quiet
    initrd   /install.amd/initrd.gz
}
submenu --hotkey=a 'Advanced options ...' {
    menuentry '... Expert install' {
        linux    /install.amd/vmlinuz priority=low vga=788 ---
        initrd   /install.amd/initrd.gz
    }
}
"""
SUSE = """\
default=1
timeout=60
menuentry "Boot from Hard Disk" --class opensuse {
  exit
}
menuentry "Installation" --class opensuse {
  set gfxpayload=keep
  echo 'Loading kernel ...'
  linuxefi /boot/x86_64/loader/linux splash=silent
  echo 'Loading initial ramdisk ...'
  initrdefi /boot/x86_64/loader/initrd
}
menuentry "Upgrade" {
  linuxefi /boot/x86_64/loader/linux splash=silent upgrade=1
  initrdefi /boot/x86_64/loader/initrd
}
"""
DEBIAN_ISOLINUX = (
    "path \ninclude menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 0\n",
    "label install\n\tmenu label ^Install\n\tkernel /install.amd/vmlinuz\n"
    "\tappend vga=788 initrd=/install.amd/initrd.gz --- quiet \n",
    "default installgui\nlabel installgui\n\tmenu default\n\tkernel /install.amd/vmlinuz\n"
    "\tappend vga=788 initrd=/install.amd/gtk/initrd.gz --- quiet \n",
)
SUSE_ISOLINUX = (
    "default harddisk\n# hard disk\nlabel harddisk\n  localboot -2\n# install\nlabel linux\n  kernel linux\n"
    "  append initrd=initrd splash=silent showopts\nui gfxboot bootlogo message\nprompt 1\ntimeout 600\n",
)


@pytest.mark.parametrize(
    ("menu", "line"),
    [
        (UBUNTU, "linux /casper/vmlinuz autoinstall ---"),
        (DESKTOP, "linux /casper/vmlinuz layerfs-path=minimal.standard.live.squashfs autoinstall ---"),
        (DEBIAN, "linux /install.amd/vmlinuz autoinstall ---"),
        (SUSE, "linuxefi /boot/x86_64/loader/linux autoinstall"),
    ],
    ids=["ubuntu", "desktop", "debian", "suse"],
)
def test_the_installers_own_entry_boots_with_our_words_before_the_dashes(menu: str, line: str) -> None:
    entry = grub_entry(menu)
    assert entry is not None
    changed = with_grub_default(menu, entry, "autoinstall")
    assert changed.startswith(menu.rstrip())
    ours = changed[len(menu.rstrip()) :]
    assert f"  {line}\n" in ours
    assert f"  {entry.initrd_command} {entry.initrds[0]}\n" in ours
    assert "gtk" not in ours
    assert "set default=goldenpipe\n" in ours
    assert "set timeout=1\n" in ours


def test_more_initrds_come_after_the_mediums_own() -> None:
    entry = grub_entry(DEBIAN)
    assert entry is not None
    assert "initrd /install.amd/initrd.gz /goldpipe/answers.gz\n" in with_grub_default(
        DEBIAN, entry, "auto=true", ["/goldpipe/answers.gz"]
    )


@pytest.mark.parametrize(
    ("texts", "kernel", "append"),
    [
        (DEBIAN_ISOLINUX, "/install.amd/vmlinuz", "initrd=/install.amd/initrd.gz,/goldpipe/answers.gz auto=true ---"),
        (SUSE_ISOLINUX, "linux", "initrd=initrd,/goldpipe/answers.gz auto=true"),
    ],
    ids=["debian", "suse"],
)
def test_isolinux_boots_the_text_installer_at_once(texts: tuple[str, ...], kernel: str, append: str) -> None:
    entry = isolinux_entry(texts)
    assert entry is not None
    menu = isolinux_menu(entry, "auto=true", ["/goldpipe/answers.gz"])
    assert f"  kernel {kernel}\n  append {append}\n" in menu
    assert "prompt 0\n" in menu


@pytest.mark.parametrize("text", ["", "set timeout=5\n", "menuentry 'x' {\n linux16 /boot/memtest86+.bin\n}\n"])
def test_a_menu_without_an_installer_has_none(text: str) -> None:
    assert grub_entry(text) is None


def test_words_after_the_dashes_stay_for_the_installed_system() -> None:
    entry = grub_entry("menuentry 'x' {\n linux /vmlinuz a=1 --- net.ifnames=0 quiet\n initrd /initrd\n}\n")
    assert entry is not None
    assert command_line(entry, "b=2") == "a=1 b=2 --- net.ifnames=0"
