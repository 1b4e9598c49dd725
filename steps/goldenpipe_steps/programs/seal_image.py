"""Removes every trace of the build and of this machine from the guest, trims its disk and powers it off.

Only a machine that powered off cleanly after the sealing began is a sealed image.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import asyncssh

from goldenpipe_steps.kit.errors import Permanent, StepError
from goldenpipe_steps.kit.guest import Guest
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.sealing import BEGINS, POWEROFF_SECONDS, USED, Seen, seal
from goldenpipe_steps.kit.shell import quote, write_file
from goldenpipe_steps.kit.ssh import GuestLost, read_login
from goldenpipe_steps.kit.step import Step

_SCRIPT = Path(__file__).with_name("seal.sh")
_HERE = "/run/goldenpipe-seal"
_START = f"""\
cd {_HERE} || exit
if mkdir started 2>/dev/null; then setsid sh {_HERE}/run >>out 2>&1 </dev/null & fi
tail -n +1 -f out &
read -r hangup
kill $!
: >go
"""
"""Started and followed by one command: soon after the start nobody may log in or become root any more."""


async def run(step: Step) -> Report:
    limit = step.params.seconds("poweroff_timeout_seconds", POWEROFF_SECONDS)
    return await seal(step, limit, lambda _, seen: _seal(step, seen))


async def _seal(step: Step, seen: Seen) -> None:
    """Start the seal, or go on with one that an earlier attempt began; tell what it says until the guest is gone."""
    try:
        async with step.guest() as guest:
            await guest.sh(_put_script(step), check="putting the seal's script into the guest")
            step.say(BEGINS)
            seen.began = True
            with suppress(GuestLost, OSError, asyncssh.Error):
                await _tell(step, guest, seen)
    except StepError as error:
        if not seen.earlier:
            raise
        # the earlier attempt's seal has removed the user we would log in as
        step.say(f"The guest lets nobody in any more ({error.message}); an earlier attempt has begun to seal it.")


def _put_script(step: Step) -> str:
    assert step.input.guest is not None
    key = read_login(step.input.guest, step.ssh_folder).key.export_public_key().decode().split()[1]
    names = f"{step.input.vm} {step.input.build}"
    values = {"build_user": step.params.get("build_user", str, step.input.guest.user), "build_key": key}
    values["our_names"] = names
    given = "".join(f"{name}={quote(value)}\n" for name, value in values.items())
    text = f"{given}{_SCRIPT.read_text()}"
    put = write_file(f"{_HERE}/run", text.encode(), 0o700)
    return f"umask 077\nmkdir -p {_HERE}\n[ ! -e {_HERE}/started ] || exit 0\n: >{_HERE}/out\n{put}"


async def _tell(step: Step, guest: Guest, seen: Seen) -> None:
    process = await guest.open(_START)
    async for raw in process.stdout:
        line = raw.decode(errors="replace").rstrip("\n")
        if not line.startswith("\036"):
            step.say(line)
            seen.table = (*seen.table, line)
            continue
        word, _, rest = line[1:].partition(" ")
        if word == "used":
            seen.used_bytes = used_bytes(list(seen.table)) or None
            step.say(f"{USED}{seen.used_bytes or 'unknown'}")
            seen.through = True
            step.say("Powering off")
            process.stdin.write_eof()
            await process.wait_closed()
            return
        if word == "error":
            seen.errors = (*seen.errors, rest)
        else:
            step.progress(float(word), rest)
    if process.exit_status:
        words = (await process.stderr.read()).decode(errors="replace").strip()
        message = f"the seal could not be started in the guest: {words}"
        raise Permanent(message)


def used_bytes(table: list[str]) -> int:
    """The sum over the disks' file systems in `df -kP`'s table, each device once."""
    devices: dict[str, int] = {}
    for line in table:
        parts = line.split()
        if len(parts) >= 6 and parts[0].startswith("/dev/") and not parts[0].startswith(("/dev/loop", "/dev/sr")):
            devices[parts[0]] = int(parts[2]) * 1024
    return sum(devices.values())
