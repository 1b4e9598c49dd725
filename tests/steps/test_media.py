"""Installer ISOs are told by their own files, from a disk and from a few HTTP ranges."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import pycdlib
import pytest

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.iso.looking import look_at, look_at_file
from goldenpipe_steps.kit.iso.media import BLOCK, Media
from goldenpipe_steps.kit.iso.medium import Medium, refuse_unfit
from goldenpipe_steps.kit.iso.reading import Udf, open_local, open_tree
from support.isos import (
    DEBIAN_NETINST,
    INITRD,
    KERNEL,
    LEAP,
    RHEL,
    UBUNTU_DESKTOP,
    UBUNTU_OLD_DESKTOP,
    UBUNTU_SERVER,
    Layout,
    anaconda,
    debian,
    make_iso,
    suse,
    treeinfo,
    ubuntu,
    windows,
)

pytestmark = pytest.mark.skipif(not shutil.which("xorriso"), reason="needs xorriso")

FEDORA_LIVE = Layout(label="Fedora-WS-Live-40-1-14", files={"LiveOS/squashfs.img": b"x", "EFI/BOOT/grub.cfg": ""})
DEBIAN_LIVE = Layout(
    label="d-live 12.5.0 gn amd64",
    files={
        ".disk/info": "Official Debian GNU/Linux Live 12.5.0 gnome 2024-02-10T11:57",
        "live/vmlinuz": KERNEL,
        "live/filesystem.squashfs": b"x",
        "install/vmlinuz": KERNEL,
    },
)
MINI = Layout(
    label="ISOIMAGE",
    files={".disk/mini-info": 'Debian GNU/Linux 12 "bookworm" - amd64 mini', "linux": KERNEL, "initrd.gz": INITRD},
)
AGAMA = Layout(label="SLES-16.0-x86_64", files={"LiveOS/squashfs.img": b"x", "boot/grub2/grub.cfg": ""})


def look(folder: Path, layout: Layout) -> Medium:
    return look_at_file(make_iso(folder / "a.iso", layout, folder / "tree"), "a.iso").medium


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (UBUNTU_SERVER, "ubuntu 22.04.3 server subiquity amd64"),
        (UBUNTU_DESKTOP, "ubuntu 24.04.1 desktop subiquity amd64"),
        (
            ubuntu('Ubuntu-Server 20.04.6 LTS "Focal Fossa" - Release amd64 (20230314)', "U", sources=False),
            "ubuntu 20.04.6 server subiquity amd64",
        ),
        (
            ubuntu('Xubuntu 24.10 "Oracular Oriole" - Release amd64 (20241009)', "U"),
            "ubuntu 24.10 desktop subiquity amd64",
        ),
        (DEBIAN_NETINST, "debian 12.5.0 netinst debian-installer amd64"),
        (
            debian(
                'Debian GNU/Linux 13.0.0 "Trixie" - Official amd64 DVD Binary-1 with firmware 20250809', "Debian 13"
            ),
            "debian 13.0.0 dvd debian-installer amd64",
        ),
        (
            debian('Debian GNU/Linux testing "Forky" - Official Snapshot amd64 NETINST 20260101', "Debian testing"),
            "debian testing netinst debian-installer amd64",
        ),
        (MINI, "debian 12 netboot debian-installer amd64"),
        (RHEL, "rhel 9.3 dvd anaconda amd64"),
        (anaconda("Rocky-9-3-x86_64-dvd", treeinfo=treeinfo("Rocky Linux", "9.3", "")), "rocky 9.3 dvd anaconda amd64"),
        (anaconda("x", treeinfo=treeinfo("AlmaLinux", "8.10", "")), "almalinux 8.10 dvd anaconda amd64"),
        (anaconda("x", treeinfo=treeinfo("CentOS Stream", "10", "")), "centos 10 dvd anaconda amd64"),
        (anaconda("x", treeinfo=treeinfo("Fedora", "40", "Server")), "fedora 40 dvd anaconda amd64"),
        (anaconda("Fedora-E-dvd-x86_64-40", packages=False), "fedora 40 netinst anaconda amd64"),
        (anaconda("CentOS-Stream-9-BaseOS-x86_64", packages=False), "centos 9 netinst anaconda amd64"),
        (anaconda("RHEL-9-3-0-BaseOS-x86_64", packages=False), "rhel 9.3.0 netinst anaconda amd64"),
        (anaconda("OL-9-3-0-BaseOS-x86_64"), "ol 9.3.0 dvd anaconda amd64"),
        (LEAP, "opensuse 15.5 dvd autoyast amd64"),
        (suse("SLE-15-SP5-Full-x86_64-Build80.1", "SLE-15-SP5-Full-x86_64"), "sles 15.5 dvd autoyast amd64"),
        (suse("SLE-15-SP6-Online-x86_64-Build88", "SLE-15-SP6-Online-x86_64"), "sles 15.6 netinst autoyast amd64"),
        (
            suse("openSUSE-Tumbleweed-DVD-x86_64-Build1", "openSUSE-Tumbleweed-DVD-x86_64"),
            "opensuse tumbleweed dvd autoyast amd64",
        ),
        (windows(), "windows   windows-setup amd64"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_medium_that_can_be_installed_from_is_told_by_its_own_files(
    tmp_path: Path, layout: Layout, told: str
) -> None:
    medium = look(tmp_path, layout)
    words = (medium.distribution, medium.version, medium.variant, medium.installer, medium.arch)
    assert " ".join(words) == told
    assert medium.firmware == ("bios", "uefi")
    assert medium.title
    refuse_unfit(medium, medium.os_type)


@pytest.mark.parametrize(
    ("layout", "why", "instead"),
    [
        (UBUNTU_OLD_DESKTOP, "before Ubuntu 23.04 have no autoinstall", "ubuntu-22.04.3-live-server-amd64.iso"),
        (
            ubuntu('Ubuntu-Server 18.04.6 LTS "Bionic Beaver" - Release amd64 (20210915)', "U", sources=False),
            "learned autoinstall with 20.04",
            "20.04 or newer",
        ),
        (
            ubuntu('Linux Mint 21.3 "Virginia" - Release amd64 20240110', "Mint", sources=False),
            "takes no answer file",
            "live-server",
        ),
        (DEBIAN_LIVE, "is a live medium", "netinst"),
        (FEDORA_LIVE, "is a live medium", "netinst"),
        (AGAMA, "installs by Agama", "SLES 15"),
        (anaconda("CentOS-6-x86_64", treeinfo=treeinfo("CentOS", "6.10", "")), "is too old", "release 7"),
        (
            debian('Debian GNU/Linux 12.5.0 "Bookworm" - Official arm64 NETINST with firmware 20240210', "Debian"),
            "is for arm64",
            "amd64",
        ),
        (anaconda("x", treeinfo=treeinfo("Fedora", "40", "Server", "aarch64")), "is for arm64", "amd64"),
        (
            Layout(label="Photos 2019", files={"a.jpg": b"x"}),
            "is no installer that GoldenPipe can drive",
            "cloud image",
        ),
        (Layout(label="x", files=UBUNTU_SERVER.files, firmware=()), "is not bootable", "bootable installer ISO"),
        (windows(**{"sources/boot.wim": b""}), "os_type: linux", "os_type: windows"),
    ],
    ids=lambda value: value.replace(" ", "-")[:40] if isinstance(value, str) else "",
)
def test_a_medium_that_cannot_be_automated_is_refused_with_what_to_use_instead(
    tmp_path: Path, layout: Layout, why: str, instead: str
) -> None:
    with pytest.raises(Permanent) as caught:
        refuse_unfit(look(tmp_path, layout), "linux")
    assert why in caught.value.message
    assert instead in caught.value.hint


@pytest.mark.parametrize("firmware", [("bios",), ("uefi",), ("bios", "uefi"), ()])
def test_what_can_boot_a_medium_is_told(tmp_path: Path, firmware: tuple[str, ...]) -> None:
    layout = Layout(label="x", files=DEBIAN_NETINST.files, firmware=firmware)
    assert look(tmp_path, layout).firmware == firmware


def test_names_too_long_for_one_directory_record_are_read_whole(tmp_path: Path) -> None:
    name = "a-package-name-that-goes-on-and-on_" * 7 + ".deb"
    path = make_iso(tmp_path / "a.iso", Layout(label="x", files={f"pool/{name}": b"here"}), tmp_path / "tree")
    with open_local(path) as media:
        _, tree = open_tree(media)
        assert tree.names("pool") == [name]
        assert tree.read(f"POOL/{name}") == b"here"


def test_a_medium_of_thousands_of_folders_is_told_from_a_few_reads(tmp_path: Path) -> None:
    pool = {f"pool/main/{number % 26}/package-{number}/package_{number}_amd64.deb": b"x" for number in range(3000)}
    layout = Layout(label="x", files={**DEBIAN_NETINST.files, **pool})
    path = make_iso(tmp_path / "a.iso", layout, tmp_path / "tree")
    looked = look_at_file(path, "a.iso")
    assert looked.medium.version == "12.5.0"
    assert looked.requests <= 24


def test_the_files_of_windows_are_read_from_the_udf_side(tmp_path: Path) -> None:
    image = pycdlib.PyCdlib()
    image.new(udf="2.60", interchange_level=3, vol_ident="SSS_X64FRE_EN-US_DV9")
    readme = b"This disc contains a UDF file system"
    image.add_fp(io.BytesIO(readme), len(readme), "/README.TXT;1")
    for folder in ("/sources", "/efi", "/efi/boot"):
        image.add_directory(udf_path=folder)
    for name in ("sources/boot.wim", "sources/install.wim", "efi/boot/bootx64.efi"):
        image.add_fp(io.BytesIO(name.encode()), len(name), udf_path=f"/{name}")
    image.write(str(tmp_path / "win.iso"))
    image.close()
    with open_local(tmp_path / "win.iso") as media:
        volume, tree = open_tree(media)
        assert isinstance(tree, Udf)
        assert tree.read("SOURCES/Install.wim") == b"sources/install.wim"
        assert (tree.size("sources/boot.wim"), tree.size("sources"), tree.size("nothing")) == (16, None, None)
        assert tree.names("nothing") == []
        assert volume.id == "SSS_X64FRE_EN-US_DV9"
    medium = look_at_file(tmp_path / "win.iso", "win.iso").medium
    assert (medium.distribution, medium.arch) == ("windows", "amd64")
    with pytest.raises(Permanent, match="not bootable"):
        refuse_unfit(medium, "windows")


def test_an_iso_that_is_cut_off_is_told_as_that(tmp_path: Path) -> None:
    whole = make_iso(tmp_path / "a.iso", UBUNTU_SERVER, tmp_path / "tree").read_bytes()
    for length in (33000, 36000, 20 * 2048):
        (tmp_path / "cut.iso").write_bytes(whole[:length])
        with pytest.raises(Permanent):
            refuse_unfit(look_at_file(tmp_path / "cut.iso", "cut.iso").medium, "linux")


def test_a_medium_made_to_be_read_for_ever_is_given_up_on(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", Layout(label="x", files={"a": b"x"}), tmp_path / "tree")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 16 * 2048 + 156 + 10, 0xFFFFFF00)  # a root folder of 4 GiB

    def fetch(offset: int, length: int) -> bytes:
        return bytes(data[offset : offset + length]).ljust(length, b"\x22")

    media = Media(fetch, 1 << 40)
    with pytest.raises(Permanent):
        refuse_unfit(look_at(media, "evil.iso").medium, "linux")
    assert media.requests * BLOCK < 1 << 26
