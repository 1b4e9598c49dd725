"""Checks that the sealed disk is complete and free to use: machine off, disk imported and bound, DataSource ready."""

from __future__ import annotations

from goldenpipe_kube import Forbidden, Kube
from goldenpipe_steps.kit.cluster import condition, status
from goldenpipe_steps.kit.errors import Permanent, Temporary
from goldenpipe_steps.kit.log import size
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step

ALLOCATED = "goldenpipe.io/allocated-bytes"


async def run(step: Step) -> Report:
    async with step.kube() as kube:
        step.progress(10, f"Checking the disk {step.input.disk}")
        await _machine_is_off(kube, step.input.vm)
        await _import_is_complete(kube, step.input.disk)
        used = await _disk_is_bound(kube, step.input.disk)
        step.progress(70, f"Checking the DataSource {step.input.image}")
        await _source_is_ready(step, kube, step.input.image)
    if used is None:
        used = step.params.get("used_bytes", int, 0) or None
    words = f", {size(used)} in use" if used else ""
    return step.done(f"The image {step.input.image} is ready on {step.input.disk}{words}", size_bytes=used)


async def _machine_is_off(kube: Kube, name: str) -> None:
    vmi = await kube.find("VirtualMachineInstance", name)
    phase = status(vmi).get("phase")
    if vmi is not None and phase != "Succeeded":
        message = f"the build's machine {name} is {phase or 'not off'}, so its disk is not free"
        raise Permanent(message, hint="Sealing powers it off; did something start it again?")


async def _import_is_complete(kube: Kube, name: str) -> None:
    volume = await kube.find("DataVolume", name)
    if volume is None:
        message = f"there is no DataVolume {name}: the image's disk was deleted"
        raise Permanent(message, hint="Build the image again.")
    phase = status(volume).get("phase")
    if phase != "Succeeded":
        message = f"the DataVolume {name} is {phase or 'without status'}, not Succeeded"
        raise Permanent(message, hint="kubectl describe datavolume tells why.")


async def _disk_is_bound(kube: Kube, name: str) -> int | None:
    claim = await kube.find("PersistentVolumeClaim", name)
    if claim is None:
        message = f"there is no PersistentVolumeClaim {name}: the image's disk was deleted"
        raise Permanent(message, hint="Build the image again.")
    phase = status(claim).get("phase")
    if phase != "Bound":
        message = f"the PersistentVolumeClaim {name} is {phase or 'without status'}, not Bound"
        raise Permanent(message, hint="kubectl describe pvc tells why.")
    text = (claim["metadata"].get("annotations") or {}).get(ALLOCATED, "")
    return int(text) if text.isdigit() else None


async def _source_is_ready(step: Step, kube: Kube, name: str) -> None:
    try:
        source = await kube.find("DataSource", name)
    except Forbidden:
        step.say("The step's service account may not read DataSources, so this one is not checked.")
        return
    if source is None:
        message = f"there is no DataSource {name}, by which VMs would use the image"
        raise Permanent(message, hint="The service makes it before this step; was it deleted?")
    ready = condition(source, "Ready")
    if ready and ready.get("status") != "True":
        message = f"the DataSource {name} is not ready: {ready.get('message') or ready.get('reason')}"
        raise Temporary(message)
