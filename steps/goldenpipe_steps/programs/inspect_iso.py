"""Looks into the downloaded ISO, whose own files say what it is and how it is made to ask nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.iso import windows
from goldenpipe_steps.kit.iso.looking import look_at_file
from goldenpipe_steps.kit.iso.medium import refuse_unfit
from goldenpipe_steps.kit.iso.microsoft import WINDOWS_SETUP
from goldenpipe_steps.kit.iso.unattended import RECIPES, cache_key
from goldenpipe_steps.kit.log import size
from goldenpipe_steps.kit.report import Fact, Report
from goldenpipe_steps.kit.step import Step

_BLOCK = 4 << 20


async def run(step: Step) -> Report:
    path = Path(step.environ["GOLDENPIPE_ISO"]) / "disk.img"
    if not path.is_file():
        message = "the volume with the ISO holds no disk.img"
        raise Permanent(message, hint="Is its volume mode Filesystem? (manifests/iso.yaml)")
    looked = await asyncio.to_thread(look_at_file, path, "the downloaded ISO")
    medium = looked.medium
    step.progress(5, f"On it is {medium.title}")
    refuse_unfit(medium, step.params.get("os_type", str, "linux"))
    # CDI makes the file as large as its volume: what lies behind the ISO's own bytes is no part of it
    length = min(step.params.get("size_bytes", int, path.stat().st_size), path.stat().st_size)
    digest = await asyncio.to_thread(_hash, path, length, lambda part: step.progress(5 + 94 * part, "Hashing the ISO"))
    facts: dict[str, Fact] = {**medium.facts(), "iso_sha256": digest, "iso_bytes": length, "iso_recipe": ""}
    if medium.installer == WINDOWS_SETUP:
        edition, locale = step.params.get("edition", str, ""), step.params.get("locale", str, "")
        facts |= await asyncio.to_thread(windows.look, path, edition, locale)
        step.say(f"Installed will be {facts['iso_title']}")
    if recipe := RECIPES.get(medium.installer):
        key = cache_key(digest, recipe, step.params.get("preseed", str, ""), step.params.get("kernel_words", str, ""))
        facts |= {"iso_recipe": recipe.name, "iso_cache": f"goldenpipe-iso-{key}"}
    return Report(message=f"The ISO is {facts['iso_title']}, {size(length)}", facts=facts)


def _hash(path: Path, length: int, progress: Callable[[float], None]) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while done < length and (block := file.read(min(_BLOCK, length - done))):
            digest.update(block)
            done += len(block)
            progress(done / length)
    return digest.hexdigest()
