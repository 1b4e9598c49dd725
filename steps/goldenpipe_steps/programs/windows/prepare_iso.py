"""Makes a Windows ISO boot without a key being pressed: its boot record names the loader that does not wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

from goldenpipe_steps.kit.iso.windows import boot_without_key
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step


async def run(step: Step) -> Report:
    path = Path(step.environ["GOLDENPIPE_ISO"]) / "disk.img"
    changed = await asyncio.to_thread(boot_without_key, path)
    words = "boots without a key being pressed" if changed else "boots without a key already"
    return step.done(f"The ISO {words}", boot_iso=step.params.get("iso", str))
