"""Installs what Windows Update offers, with as many restarts as that takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.jobs import End
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.windows.guest import Guest, known_cause, open_guest
from goldenpipe_steps.kit.windows.jobs import Job, run_job
from goldenpipe_steps.kit.windows.powershell import program
from goldenpipe_steps.programs.windows.run_scripts import REBOOT_SECONDS, RESTART_NEEDED

MOST_ROUNDS = 6
"""Each restart may bring updates of the updates; a Windows that asks for more has one that never succeeds."""


@dataclass
class _Round:
    """What one round said."""

    step: Step
    number: int
    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        self.step.say(text)
        self.lines = [*self.lines[-19:], text]

    def record(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word == "failed":
            self.failed.append(rest)
        elif word.isdigit():
            share = 95 / MOST_ROUNDS
            self.step.progress(share * (self.number - 1) + share * float(word) / 100, rest)


async def run(step: Step) -> Report:
    async with open_guest(step) as guest:
        for number in range(1, MOST_ROUNDS + 1):
            key = f"update_windows-{number}"
            if guest.is_done(key):
                continue
            if not await _round(step, guest, key, number):
                return step.done("Windows is up to date", rounds=number)
    message = f"Windows Update still has something to install after {MOST_ROUNDS} restarts"
    raise Permanent(message, hint="The step's log names the updates; one of them may not be for this machine.")


async def _round(step: Step, guest: Guest, key: str, number: int) -> bool:
    """Whether there may be more to install."""
    limit = step.params.seconds("reboot_timeout_seconds", REBOOT_SECONDS * 4)
    told = _Round(step, number)
    job = Job(key=key, program=program("update_windows", {}))
    ended = await run_job(guest, job, told.line, reboot_seconds=limit, on_record=told.record)
    if ended.end is End.EXITED and ended.code not in (0, RESTART_NEEDED):
        words = " / ".join(line.strip() for line in told.lines[-3:] if line.strip()) or "it said nothing"
        cause = known_cause("\n".join(told.lines))
        message = f"Windows Update failed with exit code {ended.code}: {cause.message if cause else words}"
        raise Permanent(message, hint=cause.hint if cause else "Does the guest reach its update server?")
    if told.failed and number == MOST_ROUNDS:
        code, _, title = told.failed[0].partition(" ")
        message = f"the update {title} cannot be installed ({code})"
        raise Permanent(message, hint="Look the code up; hide the update by a policy, or build without updates.")
    boot = guest.facts.boot
    await guest.run("mark", {"key": key}, check="noting that a round of updates is done")
    if ended.end is End.STOPPING:
        await guest.wait_for_reboot(limit, boot)
    elif ended.end is End.EXITED and ended.code == RESTART_NEEDED:
        step.say("The updates ask for a restart.")
        await guest.reboot(limit)
    return not (ended.end is End.EXITED and ended.code == 0)
