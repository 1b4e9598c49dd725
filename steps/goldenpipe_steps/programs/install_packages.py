"""Installs the request's packages with the guest's own package manager (apt, dnf, zypper or apk).

Recommended packages come along where the distribution does so by default: users expect what they know from their shell.
"""

from __future__ import annotations

import hashlib

from goldenpipe_steps.kit.errors import Permanent, StepError, Temporary
from goldenpipe_steps.kit.guest import Facts, Guest, known_cause
from goldenpipe_steps.kit.jobs import End, Ended, Job, run_job
from goldenpipe_steps.kit.log import some
from goldenpipe_steps.kit.managers import MANAGERS, Manager, Progress, script_for
from goldenpipe_steps.kit.names import Wish, translate, without_pin
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.shell import mark_done
from goldenpipe_steps.kit.step import Step

REBOOT_SECONDS = 300.0
MOST_RUNS = 3
"""A guest that reboots again and again while it installs will not stop doing so."""


async def run(step: Step) -> Report:
    asked = list(dict.fromkeys(step.params.strings("packages")))
    if not asked:
        return step.done("There are no packages to install", packages=0)
    async with step.guest() as guest:
        manager = MANAGERS.get(guest.facts.manager)
        if manager is None:
            message = f"the guest has none of the package managers apt, dnf, zypper and apk ({guest.facts.title})"
            raise Permanent(message, hint="Use a base image with one of them, or install by a script.")
        wishes = translate(asked, step.params.get("names", dict, {}), guest.facts)
        for wish in wishes:
            if wish.names != [wish.asked]:
                step.say(f"{wish.asked} is {some(wish.names)} on {guest.facts.title}")
        names = list(dict.fromkeys(name for wish in wishes for name in wish.names))
        job = _job(manager, names)
        if guest.is_done(job.key):
            return step.done(f"{some(asked)}: already done", packages=len(asked))
        progress = await _install(step, guest, manager, job, wishes)
    if progress.present:
        return step.done(f"{some(asked)}: already there", packages=len(asked), installed=0)
    along = progress.total - len(names)
    more = f", and {along} more that they need" if along > 0 else ""
    return step.done(f"Installed {some(asked)}{more}", packages=len(asked), installed=progress.total)


def _job(manager: Manager, names: list[str]) -> Job:
    script = script_for(manager, names)
    return Job(key=f"install_packages-{hashlib.sha256(script).hexdigest()[:12]}", program=script)


async def _install(step: Step, guest: Guest, manager: Manager, job: Job, wishes: list[Wish]) -> Progress:
    limit = step.params.seconds("reboot_timeout_seconds", REBOOT_SECONDS)
    for _ in range(MOST_RUNS):
        progress = Progress(manager)
        await guest.sh(job.install(), check="putting the install script into the guest")
        ended = await _follow(step, guest, job, progress, limit)
        if ended.end is End.EXITED and ended.code == 0:
            await guest.sh(mark_done(job.key) + job.forget(), check="noting that the packages are installed")
            return progress
        await guest.sh(job.forget())
        if ended.end is End.EXITED:
            raise _failed(progress, ended, wishes, guest.facts)
        if ended.end is End.STOPPING:
            await guest.wait_for_reboot(limit)
        step.say("The install was interrupted in the guest; it runs again.")
    message = f"the install was interrupted {MOST_RUNS} times, by a reboot or for want of memory"
    raise Permanent(message, hint="Give the VM more memory; see what reboots the guest.")


async def _follow(step: Step, guest: Guest, job: Job, progress: Progress, limit: float) -> Ended:
    def line(text: str) -> None:
        if text:
            step.say(text)
        tell(progress.line(text))

    def tell(what: tuple[float, str] | None) -> None:
        if what:
            step.progress(*what)

    return await run_job(guest, job, line, reboot_seconds=limit, on_record=lambda text: tell(progress.record(text)))


def _failed(progress: Progress, ended: Ended, wishes: list[Wish], facts: Facts) -> StepError:
    text = "\n".join(progress.lines)
    if cause := known_cause(text):
        return Permanent(f"installing packages failed: {cause.message}", hint=cause.hint)
    if progress.trouble and not progress.unpacked and not progress.finished:
        message = f"the guest cannot reach its package repositories: {progress.trouble[-1]}"
        return Temporary(
            message, hint="Does the guest's network have a way out, and do its DNS and proxy settings fit?"
        )
    if progress.unknown:
        return _unknown(progress.unknown, wishes, facts)
    told = [line.strip() for line in progress.lines if line.startswith(("E:", "Error", "ERROR", "dpkg: error"))]
    last = told or [line.strip() for line in progress.lines if line.strip()]
    message = f"{progress.manager.name} failed with exit code {ended.code}: {' / '.join(last[-3:])}"
    return Permanent(message, hint="The step's log has all that the package manager said.")


def _unknown(unknown: list[str], wishes: list[Wish], facts: Facts) -> Permanent:
    """Name what the user asked for, which the table may have translated."""
    told = []
    for name in unknown:
        wish = next((wish for wish in wishes if name in map(without_pin, wish.names) or name in wish.names), None)
        if wish is None or name in (wish.asked, without_pin(wish.asked)):
            told.append(wish.asked if wish else name)
        else:
            told.append(f"{wish.asked} ({name})")
    noun = "packages" if len(told) > 1 else "package"
    message = f"{noun} {', '.join(told)} not found in the guest's repositories ({facts.title})"
    hint = "Check the spelling and version, or install it by a script from the repository that has it."
    return Permanent(message, hint=hint)
