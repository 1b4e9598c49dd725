"""What every seal has in common: only a machine that powered off cleanly after the sealing began is a sealed image."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from goldenpipe_kube import Kube, KubeError
from goldenpipe_steps.kit.cluster import gone, status, watch_one, why_ended
from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.log import duration, size
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step

BEGINS = "The seal begins"
"""A line of the log. An attempt that comes later finds it in the log of the earlier one's Pod, and knows that a machine
which is off by then was sealed, and did not merely power off by itself."""
USED = "Used bytes: "
POWEROFF_SECONDS = 300.0


@dataclass
class Seen:
    """What is known of the seal, from this attempt or an earlier one."""

    began: bool = False
    earlier: bool = False
    through: bool = False
    """The guest has said that all is done and that it powers off."""
    used_bytes: int | None = None
    errors: tuple[str, ...] = ()
    table: tuple[str, ...] = ()


async def seal(step: Step, limit: float, work: Callable[[Kube, Seen], Awaitable[None]]) -> Report:
    """Do the work, which begins the seal in the guest, and wait until the machine has powered off."""
    async with step.kube() as kube:
        seen = await earlier_attempts(step, kube)
        off = asyncio.create_task(powered_off(kube, step.input.vm, seen))
        doing = asyncio.ensure_future(work(kube, seen))
        try:
            await asyncio.wait({off, doing}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and not (off.done() and seen.began):
                doing.result()
                step.progress(90, "Waiting for the machine to power off")
            await off_within(off, limit, step.input.vm)
        finally:
            for task in (off, doing):
                task.cancel()
            await asyncio.gather(off, doing, return_exceptions=True)
    if seen.errors:
        message = f"the image is not clean: {'; '.join(seen.errors)}"
        raise Permanent(message)
    words = f"; {size(seen.used_bytes)} in use" if seen.used_bytes else ""
    return step.done(f"Sealed, and powered off cleanly{words}", used_bytes=seen.used_bytes)


async def earlier_attempts(step: Step, kube: Kube) -> Seen:
    """What the logs of this step's earlier Pods tell."""
    seen = Seen()
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


async def powered_off(kube: Kube, name: str, seen: Seen) -> None:
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


async def off_within(off: asyncio.Task[None], limit: float, name: str) -> None:
    try:
        async with asyncio.timeout(limit):
            await asyncio.shield(off)
    except TimeoutError:
        message = f"the machine {name} did not power off within {duration(limit)} after it was sealed"
        raise Permanent(
            message, hint="A service of the guest may refuse to stop; its console log may name it."
        ) from None
