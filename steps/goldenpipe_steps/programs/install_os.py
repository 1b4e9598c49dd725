"""Follows the installer in the install VM until it was done and the machine has powered itself off."""

from __future__ import annotations

from goldenpipe_kube import Kube
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.cluster import status
from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.installers import reader_for
from goldenpipe_steps.kit.installing import POWEROFF_SECONDS, STALL_SECONDS, Limits, follow_install
from goldenpipe_steps.kit.machine import Seen, running
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step


async def run(step: Step) -> Report:
    name = step.params.get("install_vm", str)
    installer = step.params.get("installer", str)
    title = step.params.get("title", str, "")
    read = reader_for(installer)
    if read is None:
        message = f"nothing is known of the installer {installer!r}, so nobody could tell when it is done"
        raise Permanent(message, hint="Use a cloud image of this distribution (qcow2), which needs no installer.")
    limits = Limits(
        stall=step.params.seconds("stall_seconds", STALL_SECONDS),
        poweroff=step.params.seconds("poweroff_timeout_seconds", POWEROFF_SECONDS),
    )
    async with step.kube() as kube:
        vmi = await _vmi(step, kube, name)
        step.say(f"Following the installer ({installer}) on the serial console of {name}")
        await follow_install(step, kube, vmi, read, limits)
    return step.done(f"{title or 'The operating system'} is installed, and the machine has powered itself off")


async def _vmi(step: Step, kube: Kube, name: str) -> Object:
    """The install VM's instance, once it runs or has ended: the console tells how, to a later attempt too."""
    if found := await _ended(kube, name):
        return found
    step.progress(0, f"Waiting for the virtual machine {name}")
    try:
        return await running(step, kube, name, Seen(doing="started the installer"))
    except Permanent:
        if found := await _ended(kube, name):
            return found
        raise


async def _ended(kube: Kube, name: str) -> Object | None:
    found = await kube.find("VirtualMachineInstance", name)
    return found if status(found).get("phase") in ("Succeeded", "Failed") else None
