"""Removes every trace of the build and of this machine from the guest, trims its disk and powers it off.

Only a machine that powered off cleanly after the sealing began is a sealed image.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from goldenpipe_kube import Kube, KubeError
from goldenpipe_steps.kit.cluster import gone, status, watch_one, why_ended
from goldenpipe_steps.kit.errors import Permanent, StepError
from goldenpipe_steps.kit.guest import Guest
from goldenpipe_steps.kit.log import duration, size
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.shell import quote, write_file
from goldenpipe_steps.kit.ssh import GuestLost, read_login
from goldenpipe_steps.kit.step import Step

BEGINS = "The seal begins"
"""A line of the log. An attempt that comes later finds it in the log of the earlier one's Pod, and knows that a machine
which is off by then was sealed, and did not merely power off by itself."""
USED = "Used bytes: "
POWEROFF_SECONDS = 300.0
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


@dataclass
class _Seen:
    """What is known of the seal, from this attempt or an earlier one."""

    began: bool = False
    earlier: bool = False
    through: bool = False
    """The guest has said that all is done and that it powers off."""
    used_bytes: int | None = None
    errors: tuple[str, ...] = ()
    table: tuple[str, ...] = ()


async def run(step: Step) -> Report:
    limit = step.params.seconds("poweroff_timeout_seconds", POWEROFF_SECONDS)
    async with step.kube() as kube:
        seen = await _earlier_attempts(step, kube)
        off = asyncio.create_task(_powered_off(kube, step.input.vm, seen))
        work = asyncio.create_task(_seal(step, seen))
        try:
            await asyncio.wait({off, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not (off.done() and seen.began):
                work.result()
                step.progress(90, "Waiting for the machine to power off")
            await _off_within(off, limit, step.input.vm)
        finally:
            for task in (off, work):
                task.cancel()
            await asyncio.gather(off, work, return_exceptions=True)
    if seen.errors:
        message = f"the image is not clean: {'; '.join(seen.errors)}"
        raise Permanent(message)
    words = f"; {size(seen.used_bytes)} in use" if seen.used_bytes else ""
    return step.done(f"Sealed, and powered off cleanly{words}", used_bytes=seen.used_bytes)


async def _earlier_attempts(step: Step, kube: Kube) -> _Seen:
    """What the logs of this step's earlier Pods tell."""
    seen = _Seen()
    labels = f"goldenpipe.io/build={step.input.build},goldenpipe.io/step={step.input.step}"
    for pod in await kube.list("Pod", labels=labels):
        if status(pod).get("phase") not in ("Failed", "Succeeded"):
            continue
        with suppress(KubeError):
            text = b"".join([chunk async for chunk in kube.logs(pod["metadata"]["name"])]).decode(errors="replace")
            seen.earlier = seen.earlier or BEGINS in text
            seen.through = seen.through or USED in text
            if found := re.search(rf"^{USED}(\d+)$", text, re.MULTILINE):
                seen.used_bytes = int(found[1])
    seen.began = seen.earlier
    return seen


async def _seal(step: Step, seen: _Seen) -> None:
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


async def _tell(step: Step, guest: Guest, seen: _Seen) -> None:
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


async def _powered_off(kube: Kube, name: str, seen: _Seen) -> None:
    """Return once the VMI has Succeeded after the seal began; anything else that ends it is a failure."""
    async with aclosing(watch_one(kube, "VirtualMachineInstance", name)) as states:
        async for vmi in states:
            if vmi is None:
                raise gone("VirtualMachineInstance", name)
            phase = status(vmi).get("phase")
            if vmi["metadata"].get("deletionTimestamp") and not seen.through:
                # it will end as Succeeded, too
                message = "somebody stopped the machine before it was sealed"
                raise Permanent(message, hint="Its disk may be half cleaned; build again.")
            if phase == "Failed":
                reason = why_ended(vmi) or "no reason given"
                message = f"the machine did not power off cleanly but failed: {reason}"
                raise Permanent(message, hint="The disk cannot be trusted; build again.")
            if phase == "Succeeded":
                if seen.began:
                    return
                message = "the guest powered off by itself before it was sealed"
                raise Permanent(message, hint="Does a script of the request schedule a shutdown? It must not.")


async def _off_within(off: asyncio.Task[None], limit: float, name: str) -> None:
    try:
        async with asyncio.timeout(limit):
            await asyncio.shield(off)
    except TimeoutError:
        message = f"the machine {name} did not power off within {duration(limit)} after it was sealed"
        raise Permanent(
            message, hint="A service of the guest may refuse to stop; its console log may name it."
        ) from None


def used_bytes(table: list[str]) -> int:
    """The sum over the disks' file systems in `df -kP`'s table, each device once."""
    devices: dict[str, int] = {}
    for line in table:
        parts = line.split()
        if len(parts) >= 6 and parts[0].startswith("/dev/") and not parts[0].startswith(("/dev/loop", "/dev/sr")):
            devices[parts[0]] = int(parts[2]) * 1024
    return sum(devices.values())
