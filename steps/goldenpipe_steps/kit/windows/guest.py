"""The Windows guest as an administrator: facts read at the first contact, PowerShell files, a connection that heals."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncssh

from goldenpipe_steps.kit.errors import Permanent, StepError
from goldenpipe_steps.kit.guest import Answer
from goldenpipe_steps.kit.inputs import Address
from goldenpipe_steps.kit.session import RETRIES, Session
from goldenpipe_steps.kit.ssh import GuestLost, read_login
from goldenpipe_steps.kit.step import CONNECT_SECONDS, Step
from goldenpipe_steps.kit.windows.powershell import RECORD, RUN, STATE, program, sftp_path


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the guest is."""

    caption: str
    version: str
    boot: str
    chocolatey: str
    winget: str
    done: frozenset[str]

    @property
    def title(self) -> str:
        return self.caption.removeprefix("Microsoft ") or "an unknown Windows"


class Guest(Session[Facts]):
    """A logged-in guest; files given to `run` must bear to run twice, for a lost connection tells nothing."""

    async def run(self, name: str, given: Mapping[str, Any] | None = None, *, check: str = "") -> Answer:
        """Run one of the kit's PowerShell files; with `check` (what was being done) a failure becomes a sentence."""
        retries = RETRIES
        while True:
            try:
                answer = await run_file(self._connection, program(name, given or {}))
            except GuestLost:
                if not retries:
                    raise
                retries -= 1
                await self.reconnect()
                continue
            if check and answer.code:
                raise failure(check, answer)
            return answer

    @contextlib.asynccontextmanager
    async def open(self, name: str, given: Mapping[str, Any]) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
        """Run one of the kit's PowerShell files and read its output while it comes."""
        async with _started(self._connection, program(name, given)) as process:
            yield process

    async def reboot(self, limit_seconds: float) -> None:
        """Restart the guest, once however often this is tried, and wait until it is back."""
        before = self.facts.boot
        with contextlib.suppress(GuestLost):
            answer = await run_file(self._connection, program("reboot", {"boot": before}))
            if answer.code:
                raise failure("restarting the guest", answer)
        await self.wait_for_reboot(limit_seconds, before)


@contextlib.asynccontextmanager
async def open_guest(
    step: Step, address: Address | None = None, *, connect_seconds: float = CONNECT_SECONDS, first_boot: bool = False
) -> AsyncIterator[Guest]:
    """Log in, look around, and hang up at the end."""
    where = address or step.input.guest
    if where is None:
        message = "this step works in the guest, but its input document names none"
        raise Permanent(message, hint="Put it after install_windows in the pipeline.")
    login = read_login(where, step.ssh_folder, first_boot=first_boot)
    guest = Guest(login, step.log, _look_around)
    await guest.enter(connect_seconds)
    step.say(f"Guest: {guest.facts.title}, version {guest.facts.version}")
    try:
        yield guest
    finally:
        guest.close()


async def _look_around(connection: asyncssh.SSHClientConnection) -> Facts:
    answer = await run_file(connection, program("look", {}))
    if answer.code:
        raise failure("looking at the guest", answer)
    for record in records(answer.out):
        values = json.loads(record)
        return Facts(
            caption=values["caption"].strip(),
            version=values["version"],
            boot=values["boot"],
            chocolatey=values["chocolatey"],
            winget=values["winget"],
            done=frozenset(values["done"]),
        )
    message = f"the guest's PowerShell answered nothing that could be read: {answer.last_words or 'nothing at all'}"
    raise Permanent(message, hint="Its SSH server must start powershell.exe for the build's user.")


def records(text: str) -> list[str]:
    """The lines of an output that are meant for the step."""
    return [line[1:].rstrip("\r") for line in text.split("\n") if line.startswith(RECORD)]


async def run_file(connection: asyncssh.SSHClientConnection, text: bytes) -> Answer:
    """Put PowerShell text into the guest, run it to its end, and take it away again."""
    async with _started(connection, text) as process:
        try:
            out, err = await process.communicate()
        except (OSError, asyncssh.Error) as error:
            raise _lost(error) from error
    if process.exit_status is None or (process.exit_status == -1 and not process.exit_signal):
        raise _lost(None)
    return Answer(code=process.exit_status, out=_text(out), err=_text(err))


@contextlib.asynccontextmanager
async def _started(
    connection: asyncssh.SSHClientConnection, text: bytes
) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
    """SFTP for the text, since the standard input of Windows PowerShell is its own; the command line is always safe."""
    name = uuid.uuid4().hex
    path = rf"{STATE}\run\{name}.ps1"
    try:
        async with connection.start_sftp_client() as sftp:
            await _upload(sftp, path, text)
            process = await connection.create_process(RUN.format(path=path), encoding=None, stdin=asyncssh.DEVNULL)
            try:
                yield process
            finally:
                process.close()
                with contextlib.suppress(OSError, asyncssh.Error):
                    await sftp.remove(sftp_path(path))
    except (asyncssh.SFTPFailure, asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied) as error:
        message = f"the build's folder {STATE} in the guest cannot be written: {error}"
        raise Permanent(message, hint="Is the disk full, or has something in the guest changed its rights?") from error
    except (OSError, asyncssh.Error) as error:
        raise _lost(error) from error


async def _upload(sftp: asyncssh.SFTPClient, path: str, text: bytes) -> None:
    folder = rf"{STATE}\run"
    try:
        file = await sftp.open(sftp_path(path), "wb")
    except asyncssh.SFTPNoSuchFile:
        await sftp.makedirs(sftp_path(folder), exist_ok=True)
        file = await sftp.open(sftp_path(path), "wb")
    async with file:
        await file.write(text)


def _text(data: bytes | str | None) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n").lstrip("\ufeff") if isinstance(data, bytes) else ""


def failure(doing: str, answer: Answer) -> StepError:
    """The error for a file that failed, with the causes that users meet in their own words."""
    return known_cause(answer.err or answer.out) or Permanent(
        f"{doing} failed in the guest (exit code {answer.code}): {answer.last_words or 'it said nothing'}"
    )


def known_cause(text: str) -> Permanent | None:
    """A full disk hides behind many commands' words; 112 is ERROR_DISK_FULL."""
    if re.search(r"not enough space on the disk|0x80070070|There is insufficient disk space", text):
        message = "the guest's disk is full: there is not enough space on the disk"
        return Permanent(message, hint="Give the image a larger storage_size, or install and write less.")
    return None


def _lost(error: Exception | None) -> GuestLost:
    return GuestLost(f"the SSH connection to the guest was lost{f': {error}' if error else ''}")
