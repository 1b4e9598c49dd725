"""Runs the request's scripts in the guest as root, in order, and shows their output line by line.

A script that has run is not run again. One that the guest's reboot interrupted counts as done: it asked for the reboot.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import dataclass, field

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import Guest, known_cause
from goldenpipe_steps.kit.inputs import Params
from goldenpipe_steps.kit.jobs import End, Ended, Job, run_job
from goldenpipe_steps.kit.log import duration
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.shell import mark_done
from goldenpipe_steps.kit.ssh import GuestLost
from goldenpipe_steps.kit.step import Step

REBOOT_SECONDS = 300.0
"""How long a guest may take to come back; under software emulation a boot takes a minute or two."""
LAST_LINES = 5
ENVIRON = (("GOLDENPIPE", "1"), ("DEBIAN_FRONTEND", "noninteractive"), ("NEEDRESTART_SUSPEND", "1"))


@dataclass(frozen=True, kw_only=True)
class Script:
    """One script and the key of its marker, which changes with its place and its content."""

    name: str
    job: Job


@dataclass
class Output:
    """Prints a script's lines with its name and remembers the last ones for the error."""

    step: Step
    name: str
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def line(self, text: str) -> None:
        self.step.say(f"{self.name}: {text}")
        if text.strip():
            self.last.append(text.strip())

    def record(self, text: str) -> None:
        self.line(text)


async def run(step: Step) -> Report:
    scripts = [_script(number, entry) for number, entry in enumerate(step.params.items("scripts"), 1)]
    if not scripts:
        return step.done("There are no scripts to run", scripts=0)
    limit = step.params.seconds("reboot_timeout_seconds", REBOOT_SECONDS)
    async with step.guest() as guest:
        left = [script for script in scripts if not guest.is_done(script.job.key)]
        if left:
            await guest.sh("".join(script.job.install() for script in left), check="putting the scripts into the guest")
        for number, script in enumerate(scripts):
            step.progress(100 * number / len(scripts), f"Running {script.name} ({number + 1} of {len(scripts)})")
            if script not in left:
                step.say(f"{script.name}: already done")
                continue
            await _run_one(step, guest, script, limit)
    count = "1 script" if len(scripts) == 1 else f"{len(scripts)} scripts"
    return step.done(f"Ran {count}: {', '.join(script.name for script in scripts)}", scripts=len(scripts))


async def _run_one(step: Step, guest: Guest, script: Script, limit: float) -> None:
    output = Output(step, script.name)
    ended = await run_job(guest, script.job, output.line, reboot_seconds=limit, on_record=output.record)
    if ended.end is End.KILLED:
        message = f"script {script.name} was killed in the guest before it ended{last_words(output)}"
        raise Permanent(message, hint="Is the guest's memory enough? Its kernel log may tell; give the VM more memory.")
    if ended.end is End.EXITED and ended.code:
        raise _failed(script.name, ended, output)
    if ended.end is End.STOPPING:
        step.say(f"{script.name}: done; the guest is going down, waiting for it to come back")
        await _wait_for_reboot(guest, script.name, limit)
    elif ended.end is End.REBOOTED:
        step.say(f"{script.name}: the guest rebooted while it ran; going on with what comes next")
    await guest.sh(mark_done(script.job.key) + script.job.forget(), check=f"noting that {script.name} is done")


async def _wait_for_reboot(guest: Guest, name: str, limit: float) -> None:
    try:
        await guest.wait_for_reboot(limit)
    except GuestLost as error:
        message = f"the guest went down in script {name} and did not come back within {duration(limit)}"
        raise Permanent(message, hint="A script may reboot the guest, but not power it off.") from error


def _script(number: int, entry: Params) -> Script:
    name, content = entry.get("name", str), entry.get("content", str).encode()
    first = content.partition(b"\n")[0]
    if first.endswith(b"\r"):
        message = f"script {name} has Windows line ends, so the guest would look for an interpreter named {first!r}"
        raise Permanent(message, hint="Save the script with Unix line ends (LF) and try again.")
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40].strip("-")
    key = f"run_scripts-{number:02d}-{slug}-{hashlib.sha256(content).hexdigest()[:12]}"
    return Script(name=name, job=Job(key=key, program=content, environ=ENVIRON))


def _failed(name: str, ended: Ended, output: Output) -> Permanent:
    message = f"script {name} failed with exit code {ended.code}{last_words(output)}"
    cause = known_cause("\n".join(output.last))
    if cause:
        return Permanent(f"{message} ({cause.message})", hint=cause.hint)
    return Permanent(message, hint="The step's log has all of its output; correct the script and build again.")


def last_words(output: Output) -> str:
    return f"; its last lines: {' / '.join(output.last)}" if output.last else "; it printed nothing"
