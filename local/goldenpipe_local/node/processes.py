"""Processes that outlive the agent: known by pid and kernel start time, so a reused pid is never mistaken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """One process of this boot of the host."""

    pid: int
    start: int
    """Clock ticks from boot to the start of the process (field 22 of /proc/PID/stat)."""

    @classmethod
    def from_stat(cls, line: str) -> Self:
        return cls(pid=int(line.split(" ", 1)[0]), start=int(_fields(line)[19]))

    @classmethod
    def of(cls, pid: int) -> Self | None:
        line = _stat(pid)
        return cls.from_stat(line) if line else None

    def is_alive(self) -> bool:
        line = _stat(self.pid)
        return bool(line) and int(_fields(line)[19]) == self.start and _fields(line)[0] not in "ZX"

    def send_signal(self, number: signal.Signals) -> bool:
        """Signal this very process; False if it has ended."""
        descriptor = self._open()
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    async def ended(self) -> int | None:
        """Wait for the end; the exit code (negative: signal) if this is our own child, else None."""
        descriptor = self._open()
        if descriptor is not None:
            try:
                await _readable(descriptor)
            finally:
                os.close(descriptor)
        return self._reap()

    def _open(self) -> int | None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        line = _stat(self.pid)
        if line and int(_fields(line)[19]) == self.start:
            return descriptor
        os.close(descriptor)
        return None

    def _reap(self) -> int | None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status) if pid else None


def group_members(group: int) -> list[int]:
    """Pids of the live processes of a process group."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (line := _stat(int(entry.name))):
            fields = _fields(line)
            if int(fields[2]) == group and fields[0] not in "ZX":
                members.append(int(entry.name))
    return members


def signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


async def run(*command: str | Path, stdin: bytes | None = None) -> tuple[int, bytes, str]:
    """Run a program to its end: exit code, standard output, and the words it wrote to standard error.

    The program is killed if the caller is cancelled.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, words = await process.communicate(stdin)
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        raise
    return process.returncode or 0, output, words.decode(errors="replace").strip()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)


def _stat(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _fields(line: str) -> list[str]:
    """The fields from the third (state) on: the second, the program's name, may hold blanks and brackets."""
    return line.rpartition(")")[2].split()
