"""Looks at the base image before it is downloaded, then follows its download into its volume."""

from __future__ import annotations

from contextlib import aclosing

from goldenpipe_kube import Kube
from goldenpipe_steps.kit.checksums import CHECKED_VERSION, is_left_to_us, same_version, verify
from goldenpipe_steps.kit.cluster import watch_one
from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.formats import ISO, Format, look_into
from goldenpipe_steps.kit.imports import Wanted, follow_import, too_small
from goldenpipe_steps.kit.iso.looking import look_at_url
from goldenpipe_steps.kit.iso.medium import refuse_unfit
from goldenpipe_steps.kit.log import size
from goldenpipe_steps.kit.report import Fact, Report
from goldenpipe_steps.kit.sources import PATIENCE_SECONDS, Source, read_head, redacted
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.tasks import all_of


async def run(step: Step) -> Report:
    wanted = Wanted.of(step)
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
        following = follow_import(step, kube, wanted, share=(3, 99), has_consumer=False)
        filled, checked = await all_of(following, _checked(step, kube, wanted))
    if checked and filled:
        same_version(wanted, checked.version, (await read_head(wanted.url, step.log)).version)
    if filled:
        return Report(message=f"Downloaded {redacted(wanted.url)}", facts=facts)
    step.say("The storage class binds a disk on the node of the VM that uses it first; create_vm goes on from here")
    if checked:
        facts[CHECKED_VERSION] = checked.version
    return Report(message="The download begins when the VM starts", facts=facts)


async def _look_inside(step: Step, wanted: Wanted, source: Source) -> dict[str, Fact]:
    """Refuse what cannot be installed from before gigabytes of it are downloaded."""
    looked = await look_at_url(wanted.url, source)
    if looked is None:
        step.say("The server gives no parts of files (HTTP ranges): what is on the ISO is seen after its download")
        return {}
    step.say(f"On it is {looked.medium.title} (told from {looked.requests} reads)")
    refuse_unfit(looked.medium, wanted.os_type)
    return dict(looked.medium.facts())


async def _checked(step: Step, kube: Kube, wanted: Wanted) -> Source | None:
    """What was checked against the checksum here; None where CDI does that, or nobody was asked to."""
    if not wanted.checksum:
        return None
    async with aclosing(watch_one(kube, "DataVolume", wanted.volume)) as states:
        async for volume in states:
            if volume is not None:
                return await verify(step, wanted, volume) if is_left_to_us(wanted, volume) else None
    message = "the watch ended"
    raise AssertionError(message)


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
        raise too_small(wanted, found.virtual_size)


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
