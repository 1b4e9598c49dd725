"""Long work in the guest: a scheduled task that runs as SYSTEM, followed by reading its output file.

The task outlives the SSH connection, which ends everything that it started itself. A look at the output lasts for a
while and is then taken anew, for Windows tells a program nothing when whoever reads its output has gone.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.jobs import Ended, Reader
from goldenpipe_steps.kit.ssh import GuestLost
from goldenpipe_steps.kit.windows.guest import Guest
from goldenpipe_steps.kit.windows.powershell import encode, source

LOOK_SECONDS = 30.0
SILENCE_SECONDS = 90.0
"""A look ends by itself after `LOOK_SECONDS`; one that does not is a connection that nobody has told us is gone."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A PowerShell program for the guest."""

    key: str
    program: bytes

    def files(self) -> dict[str, str]:
        """What its folder holds, in base64."""
        run = Path(__file__).with_name("run.cmd").read_text().replace("\n", "\r\n").encode()
        files = {"command.ps1": self.program, "job.ps1": encode(source("job")), "run.cmd": run}
        return {name: base64.b64encode(content).decode() for name, content in files.items()}


async def run_job(
    guest: Guest, job: Job, on_line: Callable[[str], None], *, reboot_seconds: float, on_record: Callable[[str], None]
) -> Ended:
    """Start the job or go on with it, and follow it to its end, over lost connections and reboots."""
    reader = Reader(on_line, on_record)
    files = job.files()
    while True:
        try:
            while reader.ended is None:
                await _look(guest, {"key": job.key, "files": files}, reader)
                files = {}  # they are in the guest now
            return reader.ended
        except GuestLost:
            reader.drop_partial()
        try:
            await guest.reconnect(reboot_seconds)
        except GuestLost as error:
            message = f"the guest went away and did not come back: {error.message}"
            hint = "Did something in the guest power it off or break its network? A screenshot of the VM may tell."
            raise Permanent(message, hint=hint) from error


async def _look(guest: Guest, job: dict[str, Any], reader: Reader) -> None:
    async with guest.open("follow", {**job, "start": reader.offset, "seconds": LOOK_SECONDS}) as process:
        try:
            while reader.ended is None:
                async with asyncio.timeout(SILENCE_SECONDS):
                    data = await process.stdout.read(65536)
                if not data:
                    break
                reader.feed(data)
            if reader.ended is None:
                await _ended_well(process)
        except TimeoutError as error:
            message = "the guest says nothing any more"
            raise GuestLost(message) from error
    reader.drop_partial()


async def _ended_well(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """A look that ran out of time exits 0; without an exit code the connection broke."""
    words = (await process.stderr.read()).decode(errors="replace").strip()
    await process.wait_closed()
    if process.exit_status is None or process.exit_status == -1:
        message = "the connection closed"
        raise GuestLost(message)
    if process.exit_status:
        message = f"the job could not be followed in the guest: {words or 'it said nothing'}"
        raise Permanent(message)
