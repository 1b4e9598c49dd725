"""Starts the build's virtual machine and waits until its guest can be logged into and cloud-init is through."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from goldenpipe_kube import Kube
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.checksums import CHECKED_VERSION, same_version
from goldenpipe_steps.kit.cluster import (
    console_tail,
    status,
)
from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import Guest
from goldenpipe_steps.kit.imports import Wanted, follow_import
from goldenpipe_steps.kit.inputs import Address
from goldenpipe_steps.kit.log import duration
from goldenpipe_steps.kit.machine import Seen, console_words, running, ssh_address, start, unless_it_ends, vm_trouble
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.sources import read_head
from goldenpipe_steps.kit.ssh import GuestLost
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.tasks import first_of

T = TypeVar("T")

SSH_SECONDS = 600.0
_CLOUD_INIT = """\
[ -e /run/cloud-init ] && [ ! -e /run/cloud-init/disabled ] || { echo none; exit 0; }
tries=0
until [ -e /run/cloud-init/result.json ]; do
    [ $tries -lt %d ] || { echo late; exit 0; }
    sleep 0.25
    tries=$((tries+1))
done
cat /run/cloud-init/result.json
"""
"""What `cloud-init status --wait` waits for, without starting Python in the guest, which is slow under emulation."""


async def run(step: Step) -> Report:
    name = step.input.vm
    user = step.params.get("user", str, "goldenpipe")
    ssh_port = step.params.get("ssh_port", int, 22)
    ssh_seconds = step.params.seconds("ssh_timeout_seconds", SSH_SECONDS)
    seen = Seen()
    async with step.kube() as kube:
        step.progress(2, f"Starting the virtual machine {name}")
        await start(step, kube, name, seen)
        await _fill_disk(step, kube, name)
        vmi = await running(step, kube, name, seen)
        address = ssh_address(vmi, user, ssh_port)
        step.progress(30, f"Waiting for the guest to answer by SSH at {address.host}:{address.port}")
        try:
            return await unless_it_ends(_greet(step, address, ssh_seconds, seen), step, kube, vmi, seen)
        except GuestLost as error:
            raise await _no_ssh(kube, vmi, error) from error


async def _fill_disk(step: Step, kube: Kube, name: str) -> None:
    """Follow the import of a disk that has waited for this VM as its first consumer."""
    volume = await kube.find("DataVolume", step.input.disk)
    if volume is None or status(volume).get("phase") == "Succeeded":
        return
    wanted = Wanted.of(step)
    filling = follow_import(step, kube, wanted, share=(3, 25), has_consumer=True)
    await first_of(filling, vm_trouble(step, kube, name))
    if checked := step.params.get(CHECKED_VERSION, str, ""):
        same_version(wanted, checked, (await read_head(wanted.url, step.log)).version)


async def _greet(step: Step, address: Address, limit: float, seen: Seen) -> Report:
    async with step.guest(address, connect_seconds=limit, first_boot=True) as guest:
        step.progress(75, "The guest answers; waiting for cloud-init")
        await _wait_for_cloud_init(step, guest, limit)
        facts = guest.facts
        return step.done(
            f"The guest runs {facts.title}",
            os_id=facts.os_id,
            os_version=facts.os_version,
            os_name=facts.os_name,
            kernel=facts.kernel,
            package_manager=facts.manager,
            address=address.host,
            port=address.port,
            emulated=seen.emulated,
        )


async def _wait_for_cloud_init(step: Step, guest: Guest, limit: float) -> None:
    answer = await guest.sh(_CLOUD_INIT % int(limit * 4))
    text = answer.out.strip()
    if text == "none":
        step.say("The guest has no cloud-init, or it is disabled.")
    elif text == "late":
        step.say(f"Warning: cloud-init was not through after {duration(limit)}; going on without it.")
    else:
        for error in _errors(text):
            step.say(f"Warning: cloud-init: {error}")


def _errors(text: str) -> list[str]:
    try:
        result: dict[str, Any] = json.loads(text)["v1"]
    except (ValueError, KeyError, TypeError):
        return [f"its result cannot be read: {text[:200]}"]
    return [str(error) for error in result.get("errors") or []]


async def _no_ssh(kube: Kube, vmi: Object, error: GuestLost) -> Permanent:
    lines = await console_tail(kube, vmi["metadata"]["uid"])
    if lines:
        hint = "The console shows how far it booted: the image needs cloud-init and an SSH server, or more time."
    else:
        hint = "Its serial console is silent: does the image boot at all with this firmware (BIOS or UEFI)?"
    return Permanent(f"{error.message}{console_words(lines)}", hint=hint)
