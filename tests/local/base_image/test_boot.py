"""The disk boots, by BIOS and by UEFI, into what a cloud image promises."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from goldenpipe_local.base_image import cached, missing_tools
from goldenpipe_local.base_image.process import run

FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
BOOT_SECONDS = 300

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
    pytest.mark.skipif(bool(missing_tools()), reason="tools for the base disk are not installed"),
]


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A booted guest: what it wrote on its serial console, and the way in."""

    console: str
    ssh: asyncssh.SSHClientConnection
    process: asyncio.subprocess.Process

    async def says(self, command: str) -> str:
        done = await self.ssh.run(command, check=True)
        return str(done.stdout).strip()


@pytest.fixture
async def disk(tmp_path: Path) -> Path:
    """A throw-away copy, larger than the base disk as a golden image's is."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "goldenpipe"
    base = await cached("debian-12", cache, say=print)
    copy = tmp_path / "disk.qcow2"
    await run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, copy, "6G")
    return copy


async def test_a_machine_with_a_bios_boots_it_and_is_what_the_seed_says(disk: Path, tmp_path: Path) -> None:
    async with booted(disk, tmp_path) as guest:
        assert await guest.says("hostname") == "probe"
        assert await guest.says("systemctl --failed --no-legend") == ""
        assert "status: done" in await guest.says("cloud-init status --wait")
        assert int(await guest.says("df --output=size -BM / | tail -1 | tr -dc 0-9")) > 5500
        assert (await guest.says("sudo passwd --status root")).split()[1] == "L"
        assert await guest.says("ls /etc/ssh/ssh_host_*_key") == "/etc/ssh/ssh_host_ed25519_key"
        assert len(await guest.says("cat /etc/machine-id")) == 32
        await guest.says("sudo apt-get -q update && apt-cache show tree")
        assert "EFI" in await guest.says("sudo ls /boot/efi")


@pytest.mark.skipif(not FIRMWARE.exists(), reason="the package ovmf is not installed")
async def test_a_machine_with_uefi_boots_it(disk: Path, tmp_path: Path) -> None:
    variables = tmp_path / "variables.fd"
    shutil.copy(VARIABLES, variables)
    flash = "if=pflash,format=raw"
    firmware = ("-drive", f"{flash},readonly=on,file={FIRMWARE}", "-drive", f"{flash},file={variables}")
    async with booted(disk, tmp_path, *firmware) as guest:
        assert "efi: EFI v" in guest.console
        assert await guest.says("ls -d /sys/firmware/efi") == "/sys/firmware/efi"


@contextlib.asynccontextmanager
async def booted(disk: Path, folder: Path, *firmware: str) -> AsyncIterator[Guest]:
    """Boots the disk, lets the test look around, and sees to it that the guest can power itself off."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    seed = await write_seed(folder, key)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-vga", "std", "-serial", "stdio"),
        *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024", *firmware),
        *("-drive", f"file={disk},if=virtio,cache=unsafe", "-drive", f"file={seed},if=virtio,format=raw,readonly=on"),
        *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=net"),
        *("-device", "virtio-rng-pci"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BOOT_SECONDS):
            console = await read_console(process)
        known = asyncssh.import_known_hosts(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
        async with asyncssh.connect("127.0.0.1", port, username="debian", client_keys=[key], known_hosts=known) as ssh:
            yield Guest(console=console, ssh=ssh, process=process)
            await ssh.run("sudo systemctl poweroff")
        assert process.stdout is not None
        async with asyncio.timeout(BOOT_SECONDS):
            await process.stdout.read()
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def write_seed(folder: Path, key: asyncssh.SSHKey) -> Path:
    """A NoCloud seed whose one key pair is the user's and, to pin it, the guest's own."""
    private = key.export_private_key().decode().replace("\n", "\\n")
    public = key.export_public_key().decode().strip()
    (folder / "meta-data").write_text("instance-id: probe\nlocal-hostname: probe\n")
    (folder / "user-data").write_text(
        "#cloud-config\n"
        f'ssh_keys: {{ed25519_private: "{private}", ed25519_public: "{public}"}}\n'
        f'ssh_authorized_keys: ["{public}"]\n'
    )
    seed = folder / "seed.img"
    await run("mformat", "-C", "-f", "1440", "-v", "cidata", "-i", seed, "::")
    await run("mcopy", "-i", seed, folder / "meta-data", folder / "user-data", "::")
    return seed


async def read_console(process: asyncio.subprocess.Process) -> str:
    """What the guest writes until cloud-init's last stage is done, which is after sshd's start."""
    assert process.stdout is not None
    lines: list[str] = []
    async for raw in process.stdout:
        lines.append(raw.decode(errors="replace"))
        assert "Kernel panic" not in lines[-1], "".join(lines[-40:])
        if "Cloud-init v." in lines[-1] and " finished at " in lines[-1]:
            return "".join(lines)
    raise AssertionError("QEMU ended before the guest had booted:\n" + "".join(lines[-40:]))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
