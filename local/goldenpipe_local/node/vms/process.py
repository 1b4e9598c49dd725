"""QEMU as a process of the host that outlives the agent."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from goldenpipe_local.node.processes import ProcessId
from goldenpipe_local.node.vms.qemu import QMP_DESCRIPTOR

_RECORD = "process"
_WORDS = "qemu.log"
# The shell writes its own /proc/PID/stat, pid and start time, to disk before it becomes QEMU: from the first moment on
# the process can be found again, whenever the agent is killed. Only builtins and mv run, so it takes a millisecond.
_STARTER = (
    'cd "$1" && shift && read -r stat </proc/self/stat && '
    f'echo "$stat" >.{_RECORD} && mv .{_RECORD} {_RECORD} && exec "$@"'
)


class QemuMissing(Exception):
    """There is no QEMU on this machine."""


def start(folder: Path, command: Sequence[str], qmp: socket.socket) -> None:
    """Start QEMU in its folder; `recorded` knows it as soon as this returns, or a moment later."""
    program = shutil.which(command[0])
    if not program:
        message = f"{command[0]} is not installed; install the package qemu-system-x86"
        raise QemuMissing(message)
    (folder / _RECORD).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", "-c", _STARTER, "sh", str(folder), program, *command[1:]],
        {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(folder / _WORDS), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, qmp.fileno(), QMP_DESCRIPTOR),
        ],
        setsid=True,
    )


def recorded(folder: Path) -> ProcessId | None:
    """The process of this folder, if one was ever started; it may have ended."""
    try:
        return ProcessId.from_stat((folder / _RECORD).read_text())
    except FileNotFoundError:
        return None


def forget(folder: Path) -> None:
    """The process has ended and was seen to."""
    (folder / _RECORD).unlink(missing_ok=True)


def words_of(folder: Path) -> str:
    """What QEMU wrote to standard error."""
    try:
        text = (folder / _WORDS).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    lines = [line.partition("qemu-system-x86_64: ")[2] or line for line in text.splitlines()]
    return "\n".join(line for line in lines if line.strip())[-2000:]
