"""The guest as root: facts read at the first contact, shell scripts over stdin, and a connection that heals."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from goldenpipe_steps.kit.errors import Permanent, StepError
from goldenpipe_steps.kit.inputs import Address
from goldenpipe_steps.kit.log import Log, some
from goldenpipe_steps.kit.session import RETRIES, Session
from goldenpipe_steps.kit.shell import STATE, quote
from goldenpipe_steps.kit.ssh import GuestLost, read_login

BECOME_ROOT = (
    'if [ "$(id -u)" = 0 ]; then exec sh {arguments}; '
    "elif command -v sudo >/dev/null; then exec sudo -n sh {arguments}; "
    "elif command -v doas >/dev/null; then exec doas -n sh {arguments}; "
    "else echo 'goldenpipe: neither sudo nor doas' >&2; exit 126; fi"
)
_LOOK = f"""\
umask 077
read -r boot </proc/sys/kernel/random/boot_id
read -r kernel </proc/sys/kernel/osrelease
echo "boot=$boot"
echo "kernel=$kernel"
for manager in apt-get dnf zypper apk; do
    if command -v $manager >/dev/null; then echo "manager=$manager"; break; fi
done
[ -d {STATE}/jobs ] || mkdir -p {STATE}/done {STATE}/jobs || echo "trouble=no folder"
for mark in {STATE}/done/*; do echo "done=${{mark##*/}}"; done
while read -r line || [ -n "$line" ]; do echo "os.$line"; done </etc/os-release
exit 0
"""
"""One round trip and next to no processes: under emulation each costs."""
_NOISE = re.compile(rb"^(sudo: unable to resolve host|doas: .*hostname).*\n?", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the guest is."""

    os_id: str
    os_like: tuple[str, ...]
    os_version: str
    os_name: str
    kernel: str
    manager: str
    boot: str
    done: frozenset[str]

    @property
    def title(self) -> str:
        return self.os_name or self.os_id or "an unknown Linux"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a script in the guest left."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return " / ".join(lines[-3:])


class Guest(Session[Facts]):
    """A logged-in guest; scripts given to `sh` must bear to run twice, for a lost connection tells nothing."""

    async def sh(self, script: str, *, check: str = "") -> Answer:
        """Run shell text as root; with `check` (what was being done) a failure becomes a sentence."""
        retries = RETRIES
        while True:
            try:
                answer = await run_as_root(self._connection, script)
            except GuestLost:
                if not retries:
                    raise
                retries -= 1
                await self.reconnect()
                continue
            if check and answer.code:
                raise failure(check, answer)
            return answer

    async def open(self, script: str) -> asyncssh.SSHClientProcess[bytes]:
        """Start a short shell script as root with its stdin free; `script` shows in the guest's process list."""
        command = BECOME_ROOT.format(arguments=f"-c {quote(script)}")
        try:
            return await self._connection.create_process(command, encoding=None)
        except (OSError, asyncssh.Error) as error:
            raise _lost(error) from error


@contextlib.asynccontextmanager
async def open_guest(
    address: Address, folder: Path, log: Log, *, connect_seconds: float, first_boot: bool = False
) -> AsyncIterator[Guest]:
    """Log in, look around, and hang up at the end."""
    login = read_login(address, folder, first_boot=first_boot)
    guest = Guest(login, log, _look_around)
    await guest.enter(connect_seconds)
    facts = guest.facts
    log.say(f"Guest: {facts.title}, kernel {facts.kernel}, {facts.manager or 'no package manager known'}")
    try:
        yield guest
    finally:
        guest.close()


async def run_as_root(connection: asyncssh.SSHClientConnection, script: str) -> Answer:
    command = BECOME_ROOT.format(arguments="-s")
    try:
        done = await connection.run(command, input=script.encode(), encoding=None)
    except (OSError, asyncssh.Error) as error:
        raise _lost(error) from error
    if done.exit_status is None or (done.exit_status == -1 and not done.exit_signal):
        raise _lost(None)
    out, err = (part if isinstance(part, bytes) else b"" for part in (done.stdout, done.stderr))
    return Answer(
        code=done.exit_status,
        out=out.decode(errors="replace"),
        err=_NOISE.sub(b"", err).decode(errors="replace"),
    )


async def _look_around(connection: asyncssh.SSHClientConnection) -> Facts:
    answer = await run_as_root(connection, _LOOK)
    if answer.code:
        message = f"the build's user cannot become root in the guest: {answer.last_words}"
        raise Permanent(
            message, hint="The base image needs sudo (or doas), and cloud-init must give the user its right."
        )
    values: dict[str, str] = {}
    done = set()
    for line in answer.out.splitlines():
        key, _, value = line.partition("=")
        if key == "done":
            done.add(value)
        else:
            values[key] = value
    if "trouble" in values:
        raise failure("making the build's folder", answer)
    return Facts(
        os_id=_unquote(values.get("os.ID", "")),
        os_like=tuple(_unquote(values.get("os.ID_LIKE", "")).split()),
        os_version=_unquote(values.get("os.VERSION_ID", "")),
        os_name=_unquote(values.get("os.PRETTY_NAME", "")),
        kernel=values.get("kernel", ""),
        manager=values.get("manager", "").removesuffix("-get"),
        boot=values.get("boot", ""),
        done=frozenset(done - {"*"}),
    )


def failure(doing: str, answer: Answer) -> StepError:
    """The error for a script that failed, with the causes that users meet in their own words."""
    return known_cause(answer.err or answer.out) or Permanent(
        f"{doing} failed in the guest (exit code {answer.code}): {answer.last_words or 'it said nothing'}"
    )


def known_cause(text: str) -> Permanent | None:
    """A full or read-only disk hides behind many commands' words."""
    if "No space left on device" in text or "don't have enough free space" in text:
        full = sorted(set(re.findall(r"(/[^\s:'\"]*)[^\n]*No space left on device", text)))
        where = f" (while writing {some(full, 2)})" if full else ""
        message = f"the guest's disk is full: no space left on device{where}"
        return Permanent(message, hint="Give the image a larger storage_size, or install and write less.")
    if "Read-only file system" in text:
        message = "the guest's file system is read-only: its disk had an error, or the image is made that way"
        return Permanent(message)
    return None


def _unquote(text: str) -> str:
    try:
        return " ".join(shlex.split(text))
    except ValueError:
        return text


def _lost(error: Exception | None) -> GuestLost:
    return GuestLost(f"the SSH connection to the guest was lost{f': {error}' if error else ''}")
