"""Installs Windows by its answer file: starts the build VM, follows its setup, and waits until the guest answers SSH.

Windows Setup tells nothing to the outside. The answer file's own commands write to the serial port how far it is, and
the screen shows whether it moves; the end is the guest's SSH server, which the first logon starts with the build's key.
"""

from __future__ import annotations

from functools import partial
from typing import NoReturn

from goldenpipe_kube import Kube
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.inputs import Address
from goldenpipe_steps.kit.installing import STALL_SECONDS, Limits, follow_install
from goldenpipe_steps.kit.machine import Seen, running, ssh_address, start
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.tasks import first_of
from goldenpipe_steps.kit.windows.console import NO_SETUP_SECONDS, hear_setup
from goldenpipe_steps.kit.windows.guest import open_guest


async def run(step: Step) -> Report:
    name = step.input.vm
    seen = Seen(doing="started Windows Setup")
    async with step.kube() as kube:
        step.progress(1, f"Starting the virtual machine {name}")
        await start(step, kube, name, seen)
        vmi = await running(step, kube, name, seen)
        address = ssh_address(vmi, step.params.get("user", str, "goldenpipe"), step.params.get("ssh_port", int, 22))
        step.progress(3, "The machine runs; waiting for Windows Setup")
        return await first_of(_answers(step, address), _setup(step, kube, vmi))


async def _setup(step: Step, kube: Kube, vmi: Object) -> NoReturn:
    """Follow the setup; raises once it says that it failed, once nothing moves any more, or once the machine ends."""
    limits = Limits(stall=step.params.seconds("stall_seconds", STALL_SECONDS))
    patience = step.params.seconds("setup_timeout_seconds", NO_SETUP_SECONDS)
    await follow_install(step, kube, vmi, partial(hear_setup, patience=patience), limits)
    message = "no answer file of Windows says that it is done, so the end of the machine is a failure"
    raise AssertionError(message)


async def _answers(step: Step, address: Address) -> Report:
    # as long as the step may take: what is wrong is found by following the setup
    limit = step.input.timeout_seconds
    async with open_guest(step, address, connect_seconds=limit, first_boot=True) as guest:
        facts = guest.facts
        return step.done(
            f"The guest runs {facts.title}",
            os_id="windows",
            os_version=facts.version,
            os_name=facts.title,
            kernel=facts.version,
            package_manager="chocolatey" if facts.chocolatey else "winget" if facts.winget else "",
            address=address.host,
            port=address.port,
        )
