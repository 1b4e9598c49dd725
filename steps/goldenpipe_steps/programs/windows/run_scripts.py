"""Runs the request's PowerShell scripts in a Windows guest as SYSTEM, in order, and shows their output line by line.

A script that has run is not run again. One that restarted the guest counts as done: it asked for that. Exit code 3010
is Windows' way to say that a restart is needed, 1641 that one has begun.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.inputs import Params
from goldenpipe_steps.kit.jobs import End, Ended
from goldenpipe_steps.kit.log import duration
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.ssh import GuestLost
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.windows.guest import Guest, known_cause, open_guest
from goldenpipe_steps.kit.windows.jobs import Job, run_job
from goldenpipe_steps.kit.windows.powershell import encode
from goldenpipe_steps.programs.run_scripts import Output, last_words

REBOOT_SECONDS = 900.0
"""Windows may configure updates while it restarts."""
RESTART_NEEDED, RESTART_BEGUN = 3010, 1641


@dataclass(frozen=True, kw_only=True)
class Script:
    """One script and the key of its marker, which changes with its place and its content."""

    name: str
    job: Job


async def run(step: Step) -> Report:
    scripts = [_script(number, entry) for number, entry in enumerate(step.params.items("scripts"), 1)]
    if not scripts:
        return step.done("There are no scripts to run", scripts=0)
    limit = step.params.seconds("reboot_timeout_seconds", REBOOT_SECONDS)
    async with open_guest(step) as guest:
        for number, script in enumerate(scripts):
            step.progress(100 * number / len(scripts), f"Running {script.name} ({number + 1} of {len(scripts)})")
            if guest.is_done(script.job.key):
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
        raise Permanent(message, hint="Does it end its own scheduled task, or is the guest's memory too small?")
    if ended.end in (End.EXITED, End.STOPPING) and ended.code not in (0, RESTART_NEEDED, RESTART_BEGUN):
        raise _failed(script.name, ended, output)
    boot = guest.facts.boot
    await guest.run("mark", {"key": script.job.key}, check=f"noting that {script.name} is done")
    try:
        if ended.end is End.STOPPING:
            step.say(f"{script.name}: done; the guest is going down, waiting for it to come back")
            await guest.wait_for_reboot(limit, boot)
        elif ended.code == RESTART_NEEDED:
            step.say(f"{script.name}: done; it asks for a restart (exit code {RESTART_NEEDED})")
            await guest.reboot(limit)
        elif ended.end is End.REBOOTED:
            step.say(f"{script.name}: the guest restarted while it ran; going on with what comes next")
    except GuestLost as error:
        message = f"the guest went down in script {script.name} and did not come back within {duration(limit)}"
        raise Permanent(message, hint="A script may restart the guest, but not power it off.") from error


def _script(number: int, entry: Params) -> Script:
    name, content = entry.get("name", str), entry.get("content", str)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40].strip("-")
    key = f"run_scripts-{number:02d}-{slug}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return Script(name=name, job=Job(key=key, program=encode(content)))


def _failed(name: str, ended: Ended, output: Output) -> Permanent:
    message = f"script {name} failed with exit code {ended.code}{last_words(output)}"
    if cause := known_cause("\n".join(output.last)):
        return Permanent(f"{message} ({cause.message})", hint=cause.hint)
    return Permanent(message, hint="The step's log has all of its output; correct the script and build again.")
