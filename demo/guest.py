"""A throw-away copy of the finished image, booted directly by QEMU, and what SSH shows of it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from request import USER

from goldenpipe.cli.checks.kvm import probe_kvm
from goldenpipe.cli.errors import CliError

BOOT_SECONDS = 300.0
_BETWEEN = "--- next ---"


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A running copy; `ssh` is the command that reaches it, `port` that of 127.0.0.1 that leads to it."""

    ssh: tuple[str, ...]
    port: int
    process: subprocess.Popen[bytes]
    console: Path

    def run(self, commands: Sequence[str]) -> list[str]:
        """What each command prints, all in one session."""
        script = f"; echo; echo '{_BETWEEN}'; ".join(f"{{ {command}; }} 2>&1" for command in commands)
        ended = subprocess.run([*self.ssh, script], capture_output=True, text=True, timeout=120, check=False)
        return [part.strip() for part in ended.stdout.split(_BETWEEN)]

    def wait_for_ssh(self) -> float:
        """Tries until the guest answers, which nothing but the guest can tell; returns how long that took."""
        start = time.monotonic()
        while True:
            tried = subprocess.run([*self.ssh, "true"], capture_output=True, text=True, check=False)
            if tried.returncode == 0:
                return time.monotonic() - start
            if self.process.poll() is not None:
                raise CliError(f"QEMU ended with {self.process.returncode} while the copy was booting.")
            if time.monotonic() - start > BOOT_SECONDS:
                said = "\n".join(self.console.read_text(errors="replace").splitlines()[-8:])
                raise CliError(f"the copy did not answer SSH within {BOOT_SECONDS:.0f} s: {tried.stderr}\n{said}")
            time.sleep(0.5)


@contextmanager
def booted_copy(disk: Path, private_key: Path, folder: Path) -> Iterator[Guest]:
    """Changes of the guest go to an overlay in `folder`; the image itself is only read."""
    overlay, console = folder / "copy.qcow2", folder / "console.log"
    _run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(disk), str(overlay)])
    port = _free_port()
    process = subprocess.Popen(_qemu(overlay, console, port), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield Guest(ssh=_ssh(private_key, port), port=port, process=process, console=console)
    finally:
        process.kill()
        process.wait()


def _qemu(overlay: Path, console: Path, port: int) -> list[str]:
    command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-machine", "q35", "-m", "1024"]
    command += ["-display", "none", "-smp", "2", "-serial", f"file:{console}", "-device", "virtio-rng-pci"]
    if probe_kvm().usable:
        command += ["-accel", "kvm", "-cpu", "host"]
    else:
        command += ["-accel", "tcg,thread=multi", "-cpu", "max"]
    command += ["-drive", f"file={overlay},if=virtio,format=qcow2,cache=unsafe"]
    return [*command, "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:22"]


def _ssh(private_key: Path, port: int) -> tuple[str, ...]:
    # the copy makes its host keys at this very boot, so there is nothing to know it by yet
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "20",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
    }
    flags = [flag for key, value in options.items() for flag in ("-o", f"{key}={value}")]
    return ("ssh", "-F", "none", "-i", str(private_key), "-p", str(port), *flags, f"{USER}@127.0.0.1")


def make_key(folder: Path) -> tuple[Path, str]:
    """A key pair for this run of the demo: the private key's file and the public key's line."""
    private = folder / "id_ed25519"
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "goldenpipe-demo", "-f", str(private)])
    return private, private.with_suffix(".pub").read_text().strip()


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise CliError(
            f"{command[0]} failed: {said.strip()}", hint="What this machine lacks: goldenpipe doctor"
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
