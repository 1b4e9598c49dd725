"""Whether KVM can be used: on some machines /dev/kvm opens and every guest dies on it, so one is tried."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from goldenpipe.cli.checks.finding import Finding, ok, warn

DEVICE = Path("/dev/kvm")
QEMU = "qemu-system-x86_64"
GUEST = (
    bytes.fromhex(
        "fa31c08ed88ec08ed0bc007ce4920c02e692fcbf00106631c0b9000c66f3abc70600100320c70600200330c7060030830066b800"
        "1000000f22d80f20e0660d200600000f22e066b9800000c00f32660d000100000f30660f0116a87c0f20c06683e0fb660d030000"
        "800f22c0ea717c080066b810008ed88ed00f100425007c000031c00fa266ba0105b010eef4ebfd900000000000000000ffff0000"
        "009aaf00ffff00000092cf001700907c00000000"
    ).ljust(510, b"\0")
    + b"\x55\xaa"
)
"""A boot sector; its source is guest.S beside this file."""
GUEST_IS_WELL = 33
"""QEMU's exit code when the guest has come to its end: (0x10 << 1) | 1."""
PROBE_SECONDS = 2.0
"""The guest needs a tenth of a second; a KVM that needs twenty times that is slower than emulation."""
_EMULATION = "Guests are emulated: everything works, five to ten times slower."


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What became of the guest; `trouble` is empty if it was well."""

    trouble: str = ""

    @property
    def usable(self) -> bool:
        return not self.trouble


def probe_kvm(seconds: float = PROBE_SECONDS, accelerator: str = "kvm") -> Probe:
    """Runs the tiny guest as build VMs are run, with the host's own CPU model."""
    with tempfile.TemporaryDirectory(prefix="goldenpipe-kvm-") as folder:
        disk = Path(folder, "guest.img")
        disk.write_bytes(GUEST)
        command = [QEMU, "-nodefaults", "-no-user-config", "-machine", f"pc,accel={accelerator}", "-m", "64"]
        command += ["-cpu", "host" if accelerator == "kvm" else "max", "-display", "none"]
        command += ["-device", "isa-debug-exit,iobase=0x501,iosize=4"]
        command += ["-drive", f"file={disk},format=raw,if=ide"]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return Probe(trouble=f"a test guest did not get through its boot sector in {seconds:.0f} s")
        except OSError as error:
            return Probe(trouble=f"{QEMU} cannot be run ({error.strerror})")
    if ended.returncode == GUEST_IS_WELL:
        return Probe()
    how = f"was ended by {_signal(-ended.returncode)}" if ended.returncode < 0 else f"ended with {ended.returncode}"
    words = next((line for line in ended.stderr.splitlines() if "error" in line.lower()), "")
    return Probe(
        trouble=f"a test guest dies on it: QEMU {how}{': ' + words.partition('error:')[2].strip() if words else ''}"
    )


def check_kvm() -> list[Finding]:
    if not DEVICE.exists():
        remedy = (
            "Real machine: switch on VT-x or AMD-V in the firmware, modprobe kvm_intel or kvm_amd. "
            "Virtual machine: ask its host for nested virtualization."
        )
        return [warn("KVM", f"there is no {DEVICE}. {_EMULATION}", remedy)]
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        remedy = 'Join its group and log in again: sudo usermod -aG kvm "$USER"'
        return [warn("KVM", f"you may not open {DEVICE}. {_EMULATION}", remedy)]
    probe = probe_kvm()
    if probe.usable:
        return [ok("KVM", "a test guest ran on it")]
    remedy = "Nothing needs to be done; if this is a VM itself, its host's nested virtualization is at fault."
    return [warn("KVM", f"{DEVICE} opens, but {probe.trouble}. {_EMULATION}", remedy)]


def _signal(number: int) -> str:
    return signal.Signals(number).name
