"""Writes the exact versions that both container images hold, as they are installed in .venv (`make pins`)."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
STEPS = ("aiohttp", "asyncssh", "kubernetes", "pydantic", "pyyaml")
"""What goldenpipe_steps and goldenpipe_kube import."""
_HEAD = "# Exact versions of what the image holds. `make pins` writes this file from .venv.\n"


def pins(requirements: list[str]) -> list[str]:
    """`name==version` of these and of all that they need in turn."""
    wanted, found = [Requirement(each) for each in requirements], dict[str, str]()
    seen = set[tuple[str, frozenset[str]]]()
    while wanted:
        requirement = wanted.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if (name, frozenset(requirement.extras)) in seen or name == "pip":
            continue
        seen.add((name, frozenset(requirement.extras)))
        known = distribution(name)
        found[name] = known.version
        wanted += [each for each in map(Requirement, known.requires or []) if _needed(each, requirement.extras)]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _needed(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""}))


def files() -> dict[Path, str]:
    """The files and what belongs into them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    of_steps = [each for each in project["dependencies"] if Requirement(each).name in STEPS]
    wanted = {"server/requirements.txt": project["dependencies"], "steps/requirements.txt": of_steps}
    return {ROOT / path: _HEAD + "".join(f"{pin}\n" for pin in pins(names)) for path, names in wanted.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
