"""Looks at the base image before it is downloaded, then follows its download into its volume."""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

from goldenpipe_kube import Kube
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.cluster import condition, gone, status, watch_one
from goldenpipe_steps.kit.errors import Permanent, StepError
from goldenpipe_steps.kit.formats import ISO, Format, look_into
from goldenpipe_steps.kit.iso.looking import look_at_url
from goldenpipe_steps.kit.iso.medium import refuse_unfit
from goldenpipe_steps.kit.log import size
from goldenpipe_steps.kit.report import Fact, Report
from goldenpipe_steps.kit.sources import PATIENCE_SECONDS, Source, read_head, redacted
from goldenpipe_steps.kit.step import Step

MOST_RESTARTS = 3
"""CDI never gives up on a download; after so many failures with the same words the step does."""
_NO_TROUBLE = ("Scratch space required", "Completed")
"""Reasons why CDI's first Pod for an import, and its last, have ended; their messages read like a fault."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the request says about the base image, and the volume that it is downloaded into."""

    url: str
    kind: str
    """disk or iso: what the pipeline was chosen for."""
    os_type: str
    volume: str
    checksum: str
    size_bytes: int
    storage_size: str


async def run(step: Step) -> Report:
    wanted = Wanted(
        url=step.params.get("url", str),
        kind=step.params.get("kind", str, "disk"),
        os_type=step.params.get("os_type", str, "linux"),
        volume=step.params.get("volume", str, step.input.disk),
        checksum=step.params.get("checksum", str, ""),
        size_bytes=step.params.get("size_bytes", int, 0),
        storage_size=step.params.get("storage_size", str, ""),
    )
    step.progress(1, f"Looking at {redacted(wanted.url)}")
    patience = step.params.seconds("retry_seconds", PATIENCE_SECONDS)
    source = await read_head(wanted.url, step.log, patience_seconds=patience)
    found = look_into(source.head, source.total)
    _check(wanted, source, found)
    step.say(f"It is {_describe(source, found)}")
    facts: dict[str, Fact] = {"format": found.name, "source_bytes": source.total}
    if found.name == ISO:
        facts |= await _look_inside(step, wanted, source)
    else:
        facts["virtual_size_bytes"] = found.virtual_size
    async with step.kube() as kube:
        await _follow(step, kube, wanted)
    return Report(message=f"Downloaded {redacted(wanted.url)}", facts=facts)


async def _look_inside(step: Step, wanted: Wanted, source: Source) -> dict[str, Fact]:
    """Refuse what cannot be installed from before gigabytes of it are downloaded."""
    looked = await look_at_url(wanted.url, source)
    if looked is None:
        step.say("The server gives no parts of files (HTTP ranges): what is on the ISO is seen after its download")
        return {}
    step.say(f"On it is {looked.medium.title} (told from {looked.requests} reads)")
    refuse_unfit(looked.medium, wanted.os_type)
    return dict(looked.medium.facts())


def _check(wanted: Wanted, source: Source, found: Format) -> None:
    place = redacted(wanted.url)
    if found.fault == "a web page" or (found.fault and source.content_type == "text/html"):
        message = f"{place} is not a disk image: the server sent a web page"
        raise Permanent(message, hint=found.hint or "Give the address of the file itself.")
    if found.fault and wanted.kind == ISO:
        message = f"{place} is not an installer ISO: it is {found.fault}"
        raise Permanent(message, hint="Give the address of the ISO file itself, unpacked.")
    if found.fault:
        message = f"{place} is not a disk image: it is {found.fault}"
        raise Permanent(message, hint=found.hint)
    if (found.name == ISO) != (wanted.kind == ISO):
        raise _other_kind(place, found)
    if wanted.kind != ISO and found.virtual_size and wanted.size_bytes and found.virtual_size > wanted.size_bytes:
        raise _too_small(wanted, found.virtual_size)


def _other_kind(place: str, found: Format) -> Permanent:
    """The service chose the pipeline by the file's name, because it could not or may not look at the file."""
    what = "an installer ISO, not a disk image" if found.name == ISO else f"a disk image ({found.name}), not an ISO"
    message = f"{place} is {what}, and the service could not see that when it chose the pipeline"
    suffix = "with .iso" if found.name == ISO else "with .qcow2 or .img"
    hint = f"Let the service reach the URL (setting look_at_base_image), or use one that ends {suffix}."
    return Permanent(message, hint=hint)


def _describe(source: Source, found: Format) -> str:
    parts = [found.name]
    if source.total:
        parts.append(f"{size(source.total)} to download")
    if found.virtual_size and found.name != ISO:
        parts.append(f"a disk of {size(found.virtual_size)}")
    return ", ".join(parts)


async def _follow(step: Step, kube: Kube, wanted: Wanted) -> None:
    """Until the DataVolume has Succeeded; what goes wrong comes as condition Running with a message."""
    was_there, told = False, ""
    async with aclosing(watch_one(kube, "DataVolume", wanted.volume)) as states:
        async for volume in states:
            if volume is None:
                if was_there:
                    raise gone("DataVolume", wanted.volume)
                continue
            was_there = True
            phase = str(status(volume).get("phase") or "Pending")
            if phase == "Succeeded":
                return
            if error := _trouble(wanted, volume, phase):
                raise error
            if (words := _waits_for(volume, phase)) and words != told:
                told = words
                step.say(words)
            percent = _percent(volume)
            if percent is None:
                step.progress(3, "Preparing the download" if phase == "Pending" else "Downloading the base image")
            else:
                step.progress(5 + percent * 0.94, f"Downloading the base image ({percent:.0f}%)")


def _percent(volume: Object) -> float | None:
    text = str(status(volume).get("progress") or "")
    try:
        return float(text.removesuffix("%")) if text.endswith("%") else None
    except ValueError:
        return None


def _waits_for(volume: Object, phase: str) -> str:
    """Why nothing happens yet."""
    bound, running = condition(volume, "Bound"), condition(volume, "Running")
    if bound.get("status") == "False" and bound.get("message"):
        return f"{phase}: {bound['message']}"
    restarts = status(volume).get("restartCount") or 0
    if running.get("status") == "False" and running.get("message") and running.get("reason") not in _NO_TROUBLE:
        return f"{phase}: {running['message']}" + (f" (restarted {restarts} times)" if restarts else "")
    return ""


def _trouble(wanted: Wanted, volume: Object, phase: str) -> StepError | None:
    running = condition(volume, "Running")
    message = str(running.get("message") or "")
    if phase == "Failed":
        return _known(wanted, message, str(running.get("reason"))) or Permanent(
            f"the download failed: {message or running.get('reason') or 'no reason given'}"
        )
    if running.get("status") != "False" or running.get("reason") != "Error":
        return None
    if error := _known(wanted, message, "Error"):
        return error
    restarts = int(status(volume).get("restartCount") or 0)
    if restarts >= MOST_RESTARTS:
        return Permanent(f"the download failed {restarts} times: {message}", hint="Check the URL and its server.")
    return None


def _known(wanted: Wanted, message: str, reason: str) -> StepError | None:
    """The failures that trying again does not change."""
    place = redacted(wanted.url)
    if reason == "ChecksumError" or "checksum mismatch" in message:
        found = re.search(r"expected (\S+), (?:calculated|got) (\S+)", message)
        words = f"expected {found[1]}, got {found[2]}" if found else message
        hint = "Copy the checksum of exactly this file from the distribution's SHA256SUMS; it may be of another date."
        return Permanent(f"the checksum of {place} is wrong: {words}", hint=hint)
    if "too small to contain" in message or "larger than" in message:
        return _too_small(wanted, None)
    if "No space left on device" in message or "no space left" in message.lower():
        hint = "Free space where the cluster keeps its volumes, then build again."
        return Permanent(f"the download failed: the host's disk is full ({message})", hint=hint)
    if found := re.search(r"got (4(?!08|25|29)\d\d)|\b(40[134]|410)\b [A-Z]", message):
        hint = "Check the URL: distributions move their images when a release gets older."
        return Permanent(f"{place} answers {found[1] or found[2]}: {message}", hint=hint)
    if "format" in message.lower() and ("unknown" in message.lower() or "unsupported" in message.lower()):
        return Permanent(f"{place} is not a disk image: {message}")
    return None


def _too_small(wanted: Wanted, virtual_size: int | None) -> Permanent:
    if wanted.kind == ISO:
        message = f"the ISO {urlsplit(wanted.url).path.rpartition('/')[2]} is larger than the volume for it"
        return Permanent(message, hint="Raise the setting iso_size, or let the service look (look_at_base_image).")
    disk = f"of {size(virtual_size)} " if virtual_size else ""
    asked = wanted.storage_size or size(wanted.size_bytes)
    name = urlsplit(wanted.url).path.rpartition("/")[2]
    message = f"the disk {disk}in {name} is larger than storage_size {asked}"
    least = f" of at least {-(-virtual_size // 2**30)}Gi" if virtual_size else " that is larger"
    return Permanent(message, hint=f"Give a storage_size{least}.")
