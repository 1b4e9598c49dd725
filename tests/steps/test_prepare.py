"""The ISO that installs without asking: what changes on it, and that a killed attempt at it is not believed."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from goldenpipe_steps.kit.iso.reading import open_local, open_tree
from support.isos import DEBIAN_NETINST, LEAP, RHEL, UBUNTU_OLD_DESKTOP, UBUNTU_SERVER, Layout, make_iso
from support.steps.running import Run, Runner

pytestmark = pytest.mark.skipif(not shutil.which("xorriso"), reason="needs xorriso")

PRESEED = "d-i debian-installer/locale string en_US\n"
TEXT_CFG = "label install\n\tkernel /install.amd/vmlinuz\n\tappend vga=788 initrd=/install.amd/initrd.gz --- quiet\n"


@dataclass
class Claims:
    """The two volumes that the steps mount."""

    iso: Path
    prepared: Path
    steps: Runner

    async def inspect(self, **params: Any) -> Run:
        return await self._run("inspect_iso", os_type="linux", **params)

    async def prepare(self, facts: dict[str, Any], **params: Any) -> Run:
        run = await self.start(facts, **params)
        await run.ended()
        return run

    async def start(self, facts: dict[str, Any], **params: Any) -> Run:
        asked = {"iso": "b-iso", "recipe": facts["iso_recipe"] or None, "cache": facts.get("iso_cache"), **params}
        return await self.steps.start("prepare_iso", {"params": asked}, **self._environ)

    async def _run(self, name: str, **params: Any) -> Run:
        run = await self.steps.start(name, {"params": params}, **self._environ)
        await run.ended()
        return run

    @property
    def _environ(self) -> dict[str, str]:
        return {"GOLDENPIPE_ISO": str(self.iso), "GOLDENPIPE_PREPARED": str(self.prepared)}

    def left(self) -> set[str]:
        return {path.name for path in self.prepared.iterdir()}

    def read(self, path: str) -> str:
        with open_local(self.prepared / "disk.img") as media:
            _, tree = open_tree(media)
            content = tree.read(path)
        assert content is not None, path
        return content.decode()

    def firmware(self) -> tuple[str, ...]:
        with open_local(self.prepared / "disk.img") as media:
            return open_tree(media)[0].firmware


def run(*command: str | Path, given: bytes = b"", folder: Path | None = None) -> bytes:
    return subprocess.run(command, input=given, cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture
def claims(tmp_path: Path, steps: Runner) -> Claims:
    for name in ("iso", "prepared"):
        (tmp_path / name).mkdir()
    return Claims(tmp_path / "iso", tmp_path / "prepared", steps)


def put(claims: Claims, layout: Layout, *, padding: int = 0) -> Path:
    """The ISO as CDI leaves it: `padding` is what the volume is larger."""
    path = make_iso(claims.iso / "disk.img", layout, claims.iso.parent / "tree")
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + padding)
    return path


def with_sums(layout: Layout) -> Layout:
    sums = {
        path: hashlib.md5(content.encode() if isinstance(content, str) else content).hexdigest()
        for path, content in layout.files.items()
    }
    lines = "".join(f"{digest}  ./{path}\n" for path, digest in sums.items())
    return Layout(label=layout.label, files={**layout.files, "md5sum.txt": lines}, firmware=layout.firmware)


async def test_ubuntu_gets_the_word_that_makes_it_ask_nothing(claims: Claims) -> None:
    put(claims, with_sums(UBUNTU_SERVER))
    looked = await claims.inspect()
    assert (looked.facts["iso_recipe"], looked.facts["iso_version"]) == ("subiquity", "22.04.3")
    done = await claims.prepare(looked.facts)
    assert done.facts == {"boot_iso": looked.facts["iso_cache"]}, done.log
    for menu in ("boot/grub/grub.cfg", "boot/grub/loopback.cfg"):
        assert "/casper/vmlinuz autoinstall console=tty0 console=ttyS0,115200n8 ---" in claims.read(menu)
        digest = hashlib.md5(claims.read(menu).encode()).hexdigest()
        assert f"{digest}  ./{menu}\n" in claims.read("md5sum.txt")
    assert claims.firmware() == ("bios", "uefi")
    assert claims.left() == {"disk.img", ".lock"}


async def test_debian_finds_its_answers_beside_its_initrd(claims: Claims) -> None:
    grub = "menuentry 'Install' {\n linux /install.amd/vmlinuz vga=788 --- quiet\n initrd /install.amd/initrd.gz\n}\n"
    more = {"isolinux/txt.cfg": TEXT_CFG, "boot/grub/grub.cfg": grub}
    put(claims, with_sums(Layout(label="Debian 12", files={**DEBIAN_NETINST.files, **more})))
    looked = await claims.inspect(preseed=PRESEED)
    done = await claims.prepare(looked.facts, preseed=PRESEED)
    assert done.facts["boot_iso"] == looked.facts["iso_cache"], done.log
    words = "auto=true priority=critical DEBIAN_FRONTEND=text console=tty0 console=ttyS0,115200n8 ---"
    assert f"append initrd=/install.amd/initrd.gz,/goldpipe/answers.gz {words}\n" in claims.read(
        "isolinux/isolinux.cfg"
    )
    assert f"linux /install.amd/vmlinuz {words}\n" in claims.read("boot/grub/grub.cfg")
    assert "initrd /install.amd/initrd.gz /goldpipe/answers.gz\n" in claims.read("boot/grub/grub.cfg")
    with open_local(claims.prepared / "disk.img") as media:
        packed = open_tree(media)[1].read("goldpipe/answers.gz")
    assert packed is not None
    unpacked = claims.prepared.parent / "initrd"
    unpacked.mkdir()
    run("cpio", "--extract", "--quiet", given=gzip.decompress(packed), folder=unpacked)
    assert (unpacked / "preseed.cfg").read_text() == PRESEED
    assert hashlib.md5(packed).hexdigest() + "  ./goldpipe/answers.gz\n" in claims.read("md5sum.txt")


async def test_debian_without_answers_is_refused_not_left_asking(claims: Claims) -> None:
    put(claims, Layout(label="Debian", files={**DEBIAN_NETINST.files, "isolinux/txt.cfg": TEXT_CFG}))
    done = await claims.prepare((await claims.inspect()).facts)
    assert "reads its answers from the prepared ISO, and there are none" in done.message


async def test_suse_installs_instead_of_booting_the_empty_disk(claims: Claims) -> None:
    isolinux = "default harddisk\nlabel harddisk\n  localboot -2\nlabel linux\n  kernel linux\n  append initrd=initrd\n"
    put(claims, Layout(label="openSUSE", files={**LEAP.files, "boot/x86_64/loader/isolinux.cfg": isolinux}))
    looked = await claims.inspect()
    await claims.prepare(looked.facts)
    menu = claims.read("boot/x86_64/loader/isolinux.cfg")
    assert "default goldenpipe\n" in menu
    assert "  kernel linux\n  append initrd=initrd console=tty0 console=ttyS0,115200n8\n" in menu


async def test_red_hats_media_are_used_as_they_are(claims: Claims) -> None:
    put(claims, RHEL)
    looked = await claims.inspect()
    assert (looked.facts["iso_recipe"], looked.facts["iso_installer"]) == ("", "anaconda")
    done = await claims.prepare(looked.facts)
    assert done.facts == {"boot_iso": "b-iso"}
    assert claims.left() == set()


async def test_the_checksum_is_the_isos_own_though_its_volume_is_larger(claims: Claims) -> None:
    path = put(claims, UBUNTU_SERVER)
    plain = path.stat().st_size
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    os.truncate(path, plain + 50_000_000)
    looked = await claims.inspect(size_bytes=plain)
    assert (looked.facts["iso_sha256"], looked.facts["iso_bytes"]) == (expected, plain)
    done = await claims.prepare(looked.facts)
    assert done.facts["boot_iso"], done.log
    assert (claims.prepared / "disk.img").stat().st_size < plain + 10_000_000


async def test_a_prepared_iso_is_named_by_all_that_went_into_it(claims: Claims) -> None:
    put(claims, DEBIAN_NETINST)
    names = [(await claims.inspect(**params)).facts["iso_cache"] for params in ({}, {}, {"preseed": PRESEED})]
    names.append((await claims.inspect(kernel_words="ip=dhcp")).facts["iso_cache"])
    assert names[0] == names[1]
    assert len(set(names)) == 3


async def test_the_answers_of_others_are_no_part_of_the_name(claims: Claims) -> None:
    put(claims, UBUNTU_SERVER)
    names = {(await claims.inspect(preseed=text)).facts["iso_cache"] for text in ("", PRESEED)}
    assert len(names) == 1


async def test_a_later_build_finds_it_made(claims: Claims) -> None:
    put(claims, UBUNTU_SERVER)
    looked = await claims.inspect()
    await claims.prepare(looked.facts)
    before = (claims.prepared / "disk.img").stat()
    again = await claims.prepare(looked.facts)
    assert "was prepared by an earlier build" in again.message
    assert (claims.prepared / "disk.img").stat() == before


async def test_two_builds_of_the_same_iso_prepare_it_once(claims: Claims) -> None:
    put(claims, UBUNTU_SERVER)
    looked = await claims.inspect()
    both = [await claims.start(looked.facts) for _ in range(2)]
    await asyncio.gather(*(run.ended() for run in both))
    assert sorted(run.message.split(":")[0] for run in both) == [
        "Prepared the ISO",
        "The ISO was prepared by an earlier build",
    ]


async def test_a_killed_attempt_is_not_taken_for_a_prepared_iso(claims: Claims) -> None:
    large = {f"pool/{number}.deb": os.urandom(1 << 20) for number in range(150)}
    put(claims, Layout(label="Ubuntu", files={**UBUNTU_SERVER.files, **large}))
    looked = await claims.inspect()
    running = await claims.start(looked.facts)
    await running.line("Writing the ISO anew")
    assert list(claims.prepared.glob(".work*/disk.img"))
    running.process.send_signal(signal.SIGKILL)
    await running.ended()
    assert "disk.img" not in claims.left()
    again = await claims.prepare(looked.facts)
    assert again.message.startswith("Prepared the ISO"), again.log
    assert claims.left() == {"disk.img", ".lock"}


@pytest.fixture
def small(claims: Claims) -> Iterator[None]:
    """The volume for the prepared ISO is a file system of 1 MiB."""
    try:
        run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", claims.prepared)
    except subprocess.CalledProcessError:
        pytest.skip("may not mount a small file system here")
    yield
    run("umount", "-l", claims.prepared)


@pytest.mark.usefixtures("small")
async def test_a_full_volume_is_told_as_that(claims: Claims) -> None:
    put(claims, Layout(label="Ubuntu", files={**UBUNTU_SERVER.files, "pool/a.deb": os.urandom(3 << 20)}))
    done = await claims.prepare((await claims.inspect()).facts)
    assert "no space left" in done.message
    assert "disk.img" not in claims.left()


async def test_a_missing_xorriso_is_named(claims: Claims) -> None:
    put(claims, UBUNTU_SERVER)
    looked = await claims.inspect()
    claims.steps.environ = {"PATH": str(claims.iso)}
    done = await claims.prepare(looked.facts)
    assert done.process.returncode == 20
    assert "there is no program xorriso" in done.message
    assert claims.left() == {".lock"}


async def test_a_medium_whose_server_gave_no_ranges_is_refused_here(claims: Claims) -> None:
    put(claims, UBUNTU_OLD_DESKTOP)
    looked = await claims.inspect()
    assert looked.process.returncode == 20
    assert "live-server" in looked.extra["hint"]


async def test_more_words_for_the_kernel_come_before_the_dashes(claims: Claims) -> None:
    put(claims, UBUNTU_SERVER)
    looked = await claims.inspect(kernel_words="ip=dhcp")
    await claims.prepare(looked.facts, kernel_words="ip=dhcp")
    assert "console=ttyS0,115200n8 ip=dhcp ---" in claims.read("boot/grub/grub.cfg")


def fat_image(path: Path, menu: str) -> Path:
    """A small EFI boot image with a menu in it."""
    config = path.with_suffix(".cfg")
    config.write_text(menu)
    run("mformat", "-C", "-i", path, "-T", "2880", "::")
    run("mmd", "-i", path, "::/EFI", "::/EFI/BOOT")
    run("mcopy", "-i", path, config, "::/EFI/BOOT/grub.cfg")
    return path


async def test_a_menu_inside_the_efi_image_is_changed_too(claims: Claims, tmp_path: Path) -> None:
    if not shutil.which("mformat"):
        pytest.skip("needs mtools")
    loader = "/boot/x86_64/loader"
    menu = f"menuentry 'Installation' {{\n linux {loader}/linux splash=silent\n initrd {loader}/initrd\n}}\n"
    image = fat_image(tmp_path / "efi", menu)
    more = {"EFI/BOOT/grub.cfg": menu, "boot/x86_64/efi": image.read_bytes()}
    put(claims, Layout(label="openSUSE", files={**LEAP.files, **more}))
    done = await claims.prepare((await claims.inspect()).facts)
    assert done.facts, done.log
    with open_local(claims.prepared / "disk.img") as media:
        image.write_bytes(open_tree(media)[1].read("boot/x86_64/efi", 64 << 20) or b"")
    text = run("mtype", "-i", image, "::/EFI/BOOT/grub.cfg").decode()
    assert text == claims.read("EFI/BOOT/grub.cfg")
    assert "console=ttyS0,115200n8" in text
