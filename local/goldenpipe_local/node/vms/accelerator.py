"""KVM where it works, software emulation where it does not; what was found out is kept until the host boots again."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_local.node.files import read_json, write_json

_KVM = Path("/dev/kvm")
_KVM_FAULT = re.compile(r"KVM internal error|kvm|MSR|Unexpected exit", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """What to start a machine with; `reason` says why it is not KVM."""

    name: str
    reason: str | None = None


class AcceleratorChoice:
    """Chooses, and remembers that KVM does not work on this host."""

    def __init__(self, record: Path, *, device: Path = _KVM) -> None:
        self._record = record
        self._device = device

    def choose(self) -> Accelerator:
        known = read_json(self._record)
        if known and known["bootId"] == _boot_id():
            return Accelerator(name="tcg", reason=known["reason"])
        try:
            os.close(os.open(self._device, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return Accelerator(name="tcg", reason=f"{self._device} cannot be used: {error.strerror}")
        return Accelerator(name="kvm")

    def remember_broken(self, reason: str) -> None:
        write_json(self._record, {"bootId": _boot_id(), "reason": reason})


def kvm_fault(words: str) -> str | None:
    """The line in QEMU's words that blames KVM, if there is one."""
    return next((line.strip() for line in words.splitlines() if _KVM_FAULT.search(line)), None)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
