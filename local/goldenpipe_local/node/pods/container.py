"""One container of a Pod as a process of the host, looked after by a shim and known by the files in its folder."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_local.node.files import private_folder, read_json, write_json
from goldenpipe_local.node.processes import ProcessId, group_members, signal_group

SHIM = Path(__file__).with_name("shim.py")
LOG = "container.log"


@dataclass(frozen=True, kw_only=True)
class NotStarted:
    """The command has never run."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """The command runs."""

    started_at: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The command ran to its end, or could not be started."""

    exit_code: int
    reason: str
    message: str
    started_at: str
    finished_at: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The command ran, its shim is gone, and nobody knows how it ended."""

    started_at: str


State = NotStarted | Running | Ended | Lost


class Container:
    """The container in a folder; several objects may look at the same folder, before and after a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def log(self) -> Path:
        return self.folder / LOG

    def state(self) -> State:
        record = read_json(self.folder / "process.json")
        if not record:
            return NotStarted()
        # order matters: a shim writes its report before it ends
        alive = ProcessId(**record["shim"]).is_alive()
        report = read_json(self.folder / "exit.json")
        if report:
            return _ended(report)
        return Running(started_at=record["startedAt"]) if alive else Lost(started_at=record["startedAt"])

    async def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Start the command; return when its pid is on disk and it runs (or cannot). Does nothing if it ever ran."""
        private_folder(self.folder)
        plan = {"argv": list(argv), "env": dict(env), "cwd": str(cwd)}
        write_json(self.folder / "container.json", plan)
        ready, child_ready = os.pipe()
        try:
            self._spawn(child_ready)
        finally:
            os.close(child_ready)
        await _closed(ready)

    def _spawn(self, ready: int) -> None:
        words = self.folder / "shim.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(SHIM), str(self.folder)],
            {"PATH": os.defpath},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(words), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, ready, 3),
            ],
            setsid=True,
        )

    async def ended(self) -> None:
        """Wait until the shim has ended."""
        record = read_json(self.folder / "process.json")
        if record:
            await ProcessId(**record["shim"]).ended()

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the command and its children."""
        group = self._group()
        if group:
            signal_group(group, number)

    def clean_up(self) -> None:
        """Kill what is left of the container: the shim, and children that outlived it."""
        record = read_json(self.folder / "process.json")
        if record:
            self.send_signal(signal.SIGKILL)
            ProcessId(**record["shim"]).send_signal(signal.SIGKILL)
            # wakes those who follow the log of a container whose shim could not say that it ended
            (self.folder / "ended").touch()

    def _group(self) -> int | None:
        """The process group, as long as a process is in it that can only be the container's.

        The kernel gives no new process the number of a group that has members. So the members are ours unless the
        number belongs to a younger leader.
        """
        record = read_json(self.folder / "process.json")
        if not record or "exitCode" in (read_json(self.folder / "exit.json") or {}):
            return None
        leader = ProcessId(**record["container"])
        found = ProcessId.of(leader.pid)
        if found and found.start != leader.start:
            return None
        return leader.pid if leader.is_alive() or group_members(leader.pid) else None


def _ended(report: dict[str, str]) -> Ended:
    code = int(report["exitCode"])
    return Ended(
        exit_code=code,
        reason=report.get("reason") or ("Completed" if code == 0 else "Error"),
        message=report.get("message") or "",
        started_at=report["startedAt"],
        finished_at=report["finishedAt"],
    )


async def _closed(descriptor: int) -> None:
    """Wait until the other end of the pipe is closed."""
    reader = asyncio.StreamReader()
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            await reader.read()
        finally:
            transport.close()
