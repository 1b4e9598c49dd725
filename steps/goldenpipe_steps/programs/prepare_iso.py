"""Makes an ISO that installs without asking, where its boot menu has to change for that; later builds find it made."""

from __future__ import annotations

from pathlib import Path

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.iso.remaster import prepare
from goldenpipe_steps.kit.iso.unattended import RECIPES
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step


async def run(step: Step) -> Report:
    original = step.params.get("iso", str)
    name = step.params.get("recipe", str, "")
    if not name:
        return step.done("The ISO is used as it is: its installer finds the answer file by itself", boot_iso=original)
    recipe, cached = RECIPES.get(name), step.params.get("cache", str)
    if recipe is None:
        message = f"this step knows no way to prepare an ISO called {name!r}"
        raise Permanent(message, hint=f"Known are {', '.join(RECIPES)}; are service and step image of one version?")
    answers = step.params.get("preseed", str, "")
    if recipe.answers and not answers:
        message = f"the {recipe.name} reads its answers from the prepared ISO, and there are none"
        raise Permanent(message, hint="Give the answer file as input.preseed of inspect_iso and of prepare_iso.")
    made = await prepare(
        Path(step.environ["GOLDENPIPE_ISO"]) / "disk.img",
        Path(step.environ["GOLDENPIPE_PREPARED"]),
        recipe,
        answers=answers,
        words=step.params.get("kernel_words", str, ""),
        progress=step.progress,
    )
    how = "Prepared the ISO" if made else "The ISO was prepared by an earlier build"
    return step.done(f"{how}: PersistentVolumeClaim {cached}", boot_iso=cached)
