"""A Windows medium with the layout of Microsoft's: files on the UDF side alone, a loader for BIOS and both for UEFI.

The two UEFI loaders are GRUBs that say who they are on the serial console; the catalogue in install.wim is wimlib's.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

OVMF = Path("/usr/share/OVMF")
WAITS, STARTS = "Press any key to boot from CD or DVD......", "The boot manager would be loaded from"
_GRUB = ("fat", "iso9660", "udf", "search", "search_fs_file", "echo", "halt", "sleep")


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One Windows of install.wim."""

    name: str
    edition: str
    kind: str = "Server"
    build: str = "20348"
    language: str = "en-US"


SERVER_2022 = (
    Edition(name="Windows Server 2022 SERVERSTANDARDCORE", edition="ServerStandard", kind="Server Core"),
    Edition(name="Windows Server 2022 SERVERSTANDARD", edition="ServerStandard"),
    Edition(name="Windows Server 2022 SERVERDATACENTER", edition="ServerDatacenter"),
)


@dataclass(frozen=True, kw_only=True)
class WindowsMedium:
    """What is on it."""

    editions: tuple[Edition, ...] = SERVER_2022
    label: str = "SSS_X64FRE_EN-US_DV9"
    loaders: dict[str, bytes] = field(default_factory=dict)
    """Other content for boot images, by file name; None of them: bytes that only look like one."""
    without: tuple[str, ...] = ()


def missing() -> list[str]:
    return [name for name in ("genisoimage", "wimlib-imagex") if not shutil.which(name)]


def missing_to_boot() -> list[str]:
    tools = [name for name in ("grub-mkimage", "mformat", "qemu-system-x86_64") if not shutil.which(name)]
    places = [OVMF / "OVMF_CODE_4M.fd", Path("/usr/lib/grub/x86_64-efi")]
    return [*missing(), *tools, *(str(place) for place in places if not place.exists())]


def make_medium(path: Path, medium: WindowsMedium, folder: Path) -> Path:
    image = b"\xeb\x3c\x90MSDOS5.0".ljust(510, b"\0") + b"\x55\xaa" + b"\0" * 2048
    loaders = {"efisys.bin": image, "efisys_noprompt.bin": image, **medium.loaders}
    files = {
        "bootmgr": b"x",
        "bootmgr.efi": b"MZ",
        "setup.exe": b"MZ",
        "boot/etfsboot.com": b"\0" * 4096,
        "efi/boot/bootx64.efi": b"MZ",
        **{f"efi/microsoft/boot/{name}": content for name, content in loaders.items()},
        "sources/boot.wim": b"MSWIM\0\0\0",
    }
    for name, content in files.items():
        if name.rpartition("/")[2] not in medium.without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    (folder / "README.TXT").write_text('This disc contains a "UDF" file system.\n')
    if "install.wim" not in medium.without:
        make_wim(folder / "sources/install.wim", medium.editions)
    boot = ["-b", "boot/etfsboot.com", "-no-emul-boot", "-boot-load-size", "8"]
    boot += ["-eltorito-alt-boot", "-e", "efi/microsoft/boot/efisys.bin", "-no-emul-boot"]
    # only the UDF side has the files, as on media made by oscdimg -u2
    hide = [
        word for name in ("boot", "efi", "sources", "bootmgr*", "setup.exe", "boot.cat") for word in ("-hide", name)
    ]
    _run("genisoimage", "-quiet", "-udf", "-iso-level", "3", "-V", medium.label, *boot, *hide, "-o", path, folder)
    return path


def make_wim(path: Path, editions: tuple[Edition, ...]) -> None:
    content = path.parent.parent.parent / "windows-files"
    content.mkdir(exist_ok=True)
    (content / "explorer.exe").write_bytes(b"MZ" * 500)
    for number, edition in enumerate(editions, 1):
        words = ("capture", content) if number == 1 else ("append", content)
        _run("wimlib-imagex", *words, path, edition.name)
        properties = {
            "EDITIONID": edition.edition,
            "INSTALLATIONTYPE": edition.kind,
            "LANGUAGES/LANGUAGE": edition.language,
            "LANGUAGES/DEFAULT": edition.language,
            "VERSION/MAJOR": "10",
            "VERSION/BUILD": edition.build,
        }
        given = [f"--image-property=WINDOWS/{key}={value}" for key, value in properties.items()]
        _run("wimlib-imagex", "info", path, str(number), *given)


def talking_loaders(work: Path) -> dict[str, bytes]:
    """Boot images that say on the console which of the two has been started."""
    find = "search --file --set=root /bootmgr.efi\n"
    return {
        "efisys.bin": _loader(work / "waits", f'echo "{WAITS}"\nhalt\n'),
        "efisys_noprompt.bin": _loader(work / "starts", f'{find}echo "{STARTS} $root"\nhalt\n'),
    }


def _loader(work: Path, commands: str) -> bytes:
    work.mkdir()
    (work / "early.cfg").write_text(commands)
    image = work / "efisys.bin"
    words = ("-p", "/none", "-c", work / "early.cfg", "-o", work / "boot.efi")
    _run("grub-mkimage", "-O", "x86_64-efi", *words, *_GRUB)
    _run("mformat", "-C", "-f", "2880", "-i", image, "::")
    _run("mmd", "-i", image, "::/EFI", "::/EFI/BOOT")
    _run("mcopy", "-i", image, work / "boot.efi", "::/EFI/BOOT/BOOTX64.EFI")
    return image.read_bytes()


async def booted(iso: Path, *, seconds: float = 120) -> str:
    """Start the medium with UEFI; all that the console has said when the machine has ended."""
    log, variables = iso.with_suffix(".log"), iso.with_suffix(".vars")
    shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
    words = ["-machine", "q35,accel=tcg", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]
    words += ["-serial", f"file:{log}", "-cdrom", str(iso)]
    words += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}"]
    words += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    process = await asyncio.create_subprocess_exec("qemu-system-x86_64", *words)
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return log.read_text(errors="replace")


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
