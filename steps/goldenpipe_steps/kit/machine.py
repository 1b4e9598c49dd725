"""A build VM from its start to its end: what keeps it from running, and how it ended, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from goldenpipe_kube import Conflict, Kube, NotFound
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.cluster import (
    SAYS_NOTHING,
    SSH_PORT,
    address_of,
    condition,
    console_tail,
    gone,
    status,
    watch_one,
    why_ended,
)
from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.inputs import Address
from goldenpipe_steps.kit.log import duration
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.tasks import first_of

T = TypeVar("T")

BOOT_SECONDS = 300.0
SETTLE_SECONDS = 20.0
"""An Error… status of a VM may be a moment's; one that lasts so long is told as the reason."""
HOPELESS = ("ErrorPvcNotFound", "CrashLoopBackOff")
MAY_PASS = ("ErrorUnschedulable", "DataVolumeError", "ErrImagePull", "ImagePullBackOff")
"""Told, and waited for as long as a boot may take: room may be made, and what failed is tried again."""


@dataclass
class Seen:
    """What has been told already, so that each thing is told once."""

    doing: str = "booted"
    """What the machine is at, for the words of a failure."""
    ended: str = ""
    """The uid of a VMI that had ended before the start; the start takes it away."""
    emulated: bool = False
    said: frozenset[str] = frozenset()


async def start(step: Step, kube: Kube, name: str, seen: Seen) -> None:
    seen.ended = await _ended_before(kube, name)
    try:
        await kube.act("VirtualMachine", name, "start")
    except Conflict as error:
        step.say(f"Not started again: {error}")
    except NotFound as error:
        message = f"there is no VirtualMachine {name} to start"
        raise Permanent(message, hint="The service makes it before this step; was it deleted?") from error


async def _ended_before(kube: Kube, name: str) -> str:
    vmi = await kube.find("VirtualMachineInstance", name)
    return str(vmi["metadata"]["uid"]) if vmi and status(vmi).get("phase") in ("Failed", "Succeeded") else ""


async def running(step: Step, kube: Kube, name: str, seen: Seen) -> Object:
    """The VMI once it runs; whatever keeps it from running becomes the failure's words."""
    limit = step.params.seconds("boot_timeout_seconds", BOOT_SECONDS)
    try:
        async with asyncio.timeout(limit):
            return await first_of(_vmi_running(step, kube, name, seen), vm_trouble(step, kube, name))
    except TimeoutError:
        vm = await kube.find("VirtualMachine", name)
        words = status(vm).get("printableStatus") or "no status"
        if words == "Running":
            message = f"the virtual machine {name} runs, but had no address within {duration(limit)}"
            hint = "On a network other than the Pod's only a guest agent in the base image can tell its address."
            raise Permanent(message, hint=hint) from None
        message = f"the virtual machine {name} did not run within {duration(limit)}: it is {words}"
        raise Permanent(message, hint=_message_of(vm) or "kubectl describe vm tells more.") from None


async def _vmi_running(step: Step, kube: Kube, name: str, seen: Seen) -> Object:
    was_there = False
    async with aclosing(watch_one(kube, "VirtualMachineInstance", name)) as states:
        async for vmi in states:
            if vmi is None:
                if was_there:
                    raise gone("VirtualMachineInstance", name)
                continue
            if vmi["metadata"]["uid"] == seen.ended:
                continue
            was_there = True
            phase = status(vmi).get("phase") or "Pending"
            step.progress(5, f"The virtual machine is {phase}")
            _tell_conditions(step, vmi, seen)
            if phase in ("Failed", "Succeeded"):
                raise await _ended(kube, vmi, seen)
            if phase == "Running" and address_of(vmi):
                return vmi
    message = "the watch ended"
    raise AssertionError(message)


async def vm_trouble(step: Step, kube: Kube, name: str) -> NoReturn:
    """Never returns; raises once the VM says for a while that it cannot run."""
    trouble: Object | None = None
    settle = step.params.seconds("settle_seconds", SETTLE_SECONDS)
    states = aiter(watch_one(kube, "VirtualMachine", name))
    following = asyncio.ensure_future(anext(states))
    try:
        while True:
            await asyncio.wait({following}, timeout=settle if trouble else None)
            if not following.done():
                raise _cannot_run(name, trouble)
            vm = following.result()
            if vm is None:
                raise gone("VirtualMachine", name)
            words = status(vm).get("printableStatus")
            if words in MAY_PASS:
                step.say(f"{words}: {_message_of(vm) or 'the cluster gives no reason'}")
            trouble = vm if words in HOPELESS else None
            following = asyncio.ensure_future(anext(states))
    finally:
        following.cancel()


async def unless_it_ends(work: Coroutine[Any, Any, T], step: Step, kube: Kube, vmi: Object, seen: Seen) -> T:
    """The work's result, unless the VMI ends meanwhile: then that is the failure, at once."""
    return await first_of(work, _vmi_ends(step, kube, vmi, seen))


async def _vmi_ends(step: Step, kube: Kube, vmi: Object, seen: Seen) -> NoReturn:
    name, uid = vmi["metadata"]["name"], vmi["metadata"]["uid"]
    async with aclosing(watch_one(kube, "VirtualMachineInstance", name)) as states:
        async for now in states:
            if now is None or now["metadata"]["uid"] != uid or now["metadata"].get("deletionTimestamp"):
                raise gone("VirtualMachineInstance", name)
            _tell_conditions(step, now, seen)
            if status(now).get("phase") in ("Failed", "Succeeded"):
                raise await _ended(kube, now, seen)
    message = "the watch ended"
    raise AssertionError(message)


def _tell_conditions(step: Step, vmi: Object, seen: Seen) -> None:
    for kind in ("SoftwareEmulation", "goldenpipe.io/SingleVCPU"):
        found = condition(vmi, kind)
        if found.get("status") == "True" and kind not in seen.said:
            seen.said |= {kind}
            seen.emulated = seen.emulated or kind == "SoftwareEmulation"
            step.say(f"{kind}: {found.get('message') or found.get('reason') or 'true'}")


def ssh_address(vmi: Object, user: str, ssh_port: int) -> Address:
    annotated = (vmi["metadata"].get("annotations") or {}).get(SSH_PORT)
    return Address(host=address_of(vmi), port=int(annotated or ssh_port), user=user)


def _cannot_run(name: str, vm: Object | None) -> Permanent:
    words = status(vm).get("printableStatus")
    message = f"the virtual machine {name} cannot run: {words}: {_message_of(vm) or 'the cluster gives no reason'}"
    return Permanent(message, hint="kubectl describe vm tells more; free what it needs and build again.")


def _message_of(vm: Object | None) -> str:
    for kind in ("Failure", "PodScheduled", "Synchronized", "DataVolumesReady", "Ready"):
        found = condition(vm, kind)
        if found.get("message") and (found.get("status") == "False" or kind == "Failure"):
            return "" if found.get("reason") in SAYS_NOTHING else str(found["message"])
    return ""


async def _ended(kube: Kube, vmi: Object, seen: Seen) -> Permanent:
    phase = status(vmi).get("phase")
    what = "powered off by itself" if phase == "Succeeded" else "stopped with a failure"
    reason = why_ended(vmi) or "no reason given"
    lines = await console_tail(kube, vmi["metadata"]["uid"])
    message = f"the virtual machine {what} while it {seen.doing}: {reason}{console_words(lines)}"
    return Permanent(message, hint="Is it a bootable disk for this firmware and machine type, with enough memory?")


def console_words(lines: list[str]) -> str:
    return f"; the console's last lines: {' / '.join(line[:160] for line in lines[-6:])}" if lines else ""
