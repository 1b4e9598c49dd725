"""Media that really boot, by BIOS and by UEFI, with each distribution's loaders in the places where it has them.

The kernel is the one of Debian's installer; its initrd prints what it was started with and powers off.
"""

from __future__ import annotations

import asyncio
import gzip
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.isos import Files

KERNEL = Path("/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux")
BUSYBOX = Path("/bin/busybox")
GRUB, ISOLINUX = Path("/usr/lib/grub"), Path("/usr/lib/ISOLINUX")
LDLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
OVMF = Path("/usr/share/OVMF")
NEEDED = (
    *(KERNEL, BUSYBOX, LDLINUX, OVMF / "OVMF_CODE_4M.fd", ISOLINUX / "isolinux.bin"),
    *(GRUB / "i386-pc/boot_hybrid.img", GRUB / "x86_64-efi"),
)
_MODULES = (
    "iso9660",
    "fat",
    "part_gpt",
    "part_msdos",
    "normal",
    "linux",
    "search",
    "search_fs_file",
    "configfile",
    "echo",
)
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox echo "ANSWERS $(/bin/busybox cat /preseed.cfg 2>/dev/null)"
/bin/busybox echo "CMDLINE $(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
"""


@dataclass(frozen=True, kw_only=True)
class Bootable:
    """A medium: its files with `KERNEL` and `INITRD` where those go, and how it is started."""

    label: str
    files: Files
    kernel: str
    initrd: str
    mark: str
    """A file by which GRUB finds the medium, as the distribution's own GRUB does."""
    grub_folder: str = "boot/grub"
    isolinux_folder: str = ""
    """Where isolinux starts a BIOS; empty: GRUB does that too."""


def missing() -> list[str]:
    tools = [
        name for name in ("xorriso", "grub-mkimage", "mformat", "qemu-system-x86_64", "cpio") if not shutil.which(name)
    ]
    return tools + [str(path) for path in NEEDED if not path.exists()]


def make_bootable(path: Path, medium: Bootable, folder: Path) -> Path:
    """The ISO; `folder` becomes its tree."""
    for name, content in medium.files.items():
        _write(folder / name, content.encode() if isinstance(content, str) else content)
    _write(folder / medium.kernel, KERNEL.read_bytes())
    _write(folder / medium.initrd, _initrd(path.parent / "initrd"))
    work = path.parent / "loaders"
    work.mkdir()
    efi = _efi_image(work, medium)
    words = (
        _grub_words(folder, work, efi, medium) if not medium.isolinux_folder else _isolinux_words(folder, efi, medium)
    )
    _run("xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", medium.label, *words, "-o", path, folder)
    return path


def _grub_words(folder: Path, work: Path, efi: Path, medium: Bootable) -> Iterator[str | Path]:
    """As Ubuntu's media since 20.10: GRUB in the MBR and by El Torito, the EFI image as an appended partition."""
    early = work / "early-bios.cfg"
    early.write_text(_early(medium))
    image = folder / "boot/grub/i386-pc/eltorito.img"
    image.parent.mkdir(parents=True, exist_ok=True)
    words = ("-p", f"/{medium.grub_folder}", "-c", early, "-o", image)
    _run("grub-mkimage", "-O", "i386-pc-eltorito", *words, "biosdisk", *_MODULES)
    yield from ("--grub2-mbr", GRUB / "i386-pc/boot_hybrid.img", "-partition_offset", "16")
    yield from ("-appended_part_as_gpt", "-append_partition", "2", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", efi)
    yield from ("-b", "boot/grub/i386-pc/eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    yield from (
        "--grub2-boot-info",
        "-eltorito-alt-boot",
        "-e",
        "--interval:appended_partition_2:all::",
        "-no-emul-boot",
    )


def _isolinux_words(folder: Path, efi: Path, medium: Bootable) -> Iterator[str | Path]:
    """As Debian's and SUSE's media: isolinux by El Torito and as hybrid MBR, the EFI image as a file."""
    place = medium.isolinux_folder
    shutil.copy(ISOLINUX / "isolinux.bin", folder / place / "isolinux.bin")
    shutil.copy(LDLINUX, folder / place / "ldlinux.c32")
    if place != "isolinux":
        # SUSE's isolinux is patched to look in its own folder; Debian's is led there
        there = f"default there\nprompt 0\nlabel there\n  config /{place}/isolinux.cfg /{place}/\n"
        _write(folder / "isolinux/isolinux.cfg", there.encode())
        shutil.copy(LDLINUX, folder / "isolinux/ldlinux.c32")
    image = "boot/x86_64/efi" if "x86_64" in place else "boot/grub/efi.img"
    _write(folder / image, efi.read_bytes())
    yield from ("-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", "-c", f"{place}/boot.cat", "-b", f"{place}/isolinux.bin")
    yield from ("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    yield from ("-eltorito-alt-boot", "-e", image, "-no-emul-boot", "-isohybrid-gpt-basdat")


def _efi_image(work: Path, medium: Bootable) -> Path:
    early, loader, image = work / "early-efi.cfg", work / "bootx64.efi", work / "efi.img"
    early.write_text(_early(medium))
    _run("grub-mkimage", "-O", "x86_64-efi", "-p", f"/{medium.grub_folder}", "-c", early, "-o", loader, *_MODULES)
    _run("mformat", "-C", "-i", image, "-T", "5760", "::")
    _run("mmd", "-i", image, "::/EFI", "::/EFI/BOOT")
    _run("mcopy", "-i", image, loader, "::/EFI/BOOT/BOOTX64.EFI")
    return image


def _early(medium: Bootable) -> str:
    return f"search --file --set=root /{medium.mark}\nset prefix=($root)/{medium.grub_folder}\n"


def _initrd(folder: Path) -> bytes:
    (folder / "bin").mkdir(parents=True)
    (folder / "proc").mkdir()
    shutil.copy(BUSYBOX, folder / "bin/busybox")
    (folder / "init").write_text(_INIT)
    (folder / "init").chmod(0o755)
    names = b"\n".join(str(path.relative_to(folder)).encode() for path in sorted(folder.rglob("*")))
    command = ["cpio", "--create", "--format=newc", "--quiet"]
    return gzip.compress(subprocess.run(command, input=names, cwd=folder, check=True, capture_output=True).stdout)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


async def booted(iso: Path, firmware: str, *, seconds: float = 240) -> dict[str, str]:
    """Boot the ISO as a CD-ROM; what its initrd said, by its first word."""
    log = iso.with_suffix(f".{firmware}.log")
    words = ["-machine", "q35,accel=tcg", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]
    words += ["-serial", f"file:{log}", "-cdrom", str(iso), "-boot", "d"]
    if firmware == "uefi":
        variables = iso.with_suffix(".vars")
        shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
        for number, file in enumerate((OVMF / "OVMF_CODE_4M.fd", variables)):
            read_only = "on" if number == 0 else "off"
            words += ["-drive", f"if=pflash,format=raw,unit={number},readonly={read_only},file={file}"]
    process = await asyncio.create_subprocess_exec("qemu-system-x86_64", *words)
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        raise AssertionError(f"{firmware} did not get through:\n{_tail(log)}") from None  # a test's words
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = log.read_text(errors="replace").splitlines()
    return {
        line.partition(" ")[0]: line.partition(" ")[2].strip() for line in lines if line[:8] in ("CMDLINE ", "ANSWERS ")
    }


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else "nothing was said"
