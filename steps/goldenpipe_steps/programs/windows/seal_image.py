"""Removes every trace of the build from a Windows guest, generalizes it with sysprep and lets it power off.

The seal is a task of the guest's own: it ends all SSH sessions, so only the serial console and the power-off tell of
it. Sysprep powers off only what it has generalized.
"""

from __future__ import annotations

import base64
from contextlib import aclosing

from goldenpipe_kube import Kube
from goldenpipe_steps.kit.console import console_lines
from goldenpipe_steps.kit.errors import Permanent, StepError
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.sealing import BEGINS, Seen, seal
from goldenpipe_steps.kit.ssh import GuestLost, read_login
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.windows.console import mark_of
from goldenpipe_steps.kit.windows.guest import open_guest, records
from goldenpipe_steps.kit.windows.powershell import program
from goldenpipe_steps.programs.windows.run_scripts import REBOOT_SECONDS

BEGUN = "Ending all SSH sessions"
"""The seal's first words: what stands before them on the console is of the install."""
POWEROFF_SECONDS = 1800.0
"""Sysprep takes minutes, and much longer under emulation."""


async def run(step: Step) -> Report:
    limit = step.params.seconds("poweroff_timeout_seconds", POWEROFF_SECONDS)
    return await seal(step, limit, lambda kube, seen: _seal(step, kube, seen))


async def _seal(step: Step, kube: Kube, seen: Seen) -> None:
    """Begin the seal, or go on with one that an earlier attempt began; then tell what the console says of it."""
    try:
        await _begin(step, seen)
    except StepError as error:
        if not seen.earlier:
            raise
        step.say(f"The guest lets nobody in any more ({error.message}); an earlier attempt has begun to seal it.")
    await _tell(step, kube)


async def _begin(step: Step, seen: Seen) -> None:
    assert step.input.guest is not None
    key = read_login(step.input.guest, step.ssh_folder).key.export_public_key().decode().split()[1]
    given = {
        "user": step.params.get("build_user", str, step.input.guest.user),
        "key": key,
        "keep_ssh": step.params.get("keep_ssh", bool, False),
    }
    text = base64.b64encode(program("seal", given)).decode()
    async with open_guest(step) as guest:
        if not seen.earlier:
            step.progress(5, "Restarting the guest, so that nobody is logged in and nothing waits for a restart")
            await guest.reboot(step.params.seconds("reboot_timeout_seconds", REBOOT_SECONDS))
        answer = await guest.run("used", check="looking at the guest's disk")
        for record in records(answer.out):
            seen.used_bytes = int(record.removeprefix("used ").partition(".")[0]) or None
        step.say(BEGINS)
        seen.began = True
        try:
            await guest.run("seal_start", {"program": text}, check="starting the seal")
            step.say("The guest seals itself now, and answers no more.")
        except GuestLost as error:
            # it may have begun: then the machine powers off in the end, and if not, that is waited for in vain
            step.say(f"Whether the seal has begun is not known: {error.message}")


async def _tell(step: Step, kube: Kube) -> None:
    """Never returns by itself: the machine's end does that. Raises once the seal says that it failed."""
    vmi = await kube.find("VirtualMachineInstance", step.input.vm)
    if vmi is None:
        return
    async with aclosing(console_lines(kube, vmi["metadata"]["uid"])) as lines:
        begun = False
        async for line in lines:
            mark = mark_of(line or "")
            begun = begun or BEGUN in (line or "")
            if mark is None or not begun:
                continue
            if mark.failure:
                message = f"sealing failed in the guest: {mark.failure}"
                hint = r"C:\Windows\System32\Sysprep\Panther\setuperr.log in the guest has what sysprep says."
                raise Permanent(message, hint=hint)
            step.progress(mark.percent or 0, mark.words)
