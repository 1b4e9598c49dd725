"""What each distribution calls the packages that people name; the table itself is a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import Facts
from goldenpipe_steps.kit.inputs import InputFault

NAME = re.compile(r"[A-Za-z0-9@(/_][A-Za-z0-9@()./+_:~*=<>!^-]*")
_PIN = re.compile(r"[=<>~]")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One package as the request names it, and as the guest's distribution does."""

    asked: str
    names: list[str]


def translate(asked: list[str], table: Mapping[str, Any], facts: Facts) -> list[Wish]:
    """Every name in the guest's words; names that no table entry is about stay as they are."""
    wishes, missing = [], []
    for name in asked:
        if not NAME.fullmatch(name):
            message = f"{name!r} is no package name"
            raise Permanent(
                message, hint="Name packages as the guest's package manager does, such as nginx or nginx=1.22*."
            )
        found = _entry(name, table, facts)
        if isinstance(found, dict) and "missing" in found:
            missing.append((name, str(found["missing"])))
        else:
            wishes.append(Wish(asked=name, names=_names(name, found)))
    if missing:
        told = "; ".join(f"{name}: {why}" for name, why in missing)
        names = ", ".join(name for name, _ in missing)
        noun = "packages" if len(missing) > 1 else "package"
        message = f"{noun} {names} not found in the guest's repositories ({facts.title})"
        raise Permanent(message, hint=told)
    return wishes


def places(facts: Facts) -> list[str]:
    """The table's keys for this guest, the most particular first: debian-12.5, debian-12, debian, its family."""
    versions = []
    version = facts.os_version
    while version:
        versions.append(f"{facts.os_id}-{version}")
        version = version.rpartition(".")[0]
    return [*versions, facts.os_id, *facts.os_like, "any"]


def _entry(name: str, table: Mapping[str, Any], facts: Facts) -> object:
    entry = table.get(name)
    if not isinstance(entry, dict):
        return entry if entry is not None else name
    return next((entry[place] for place in places(facts) if place in entry), name)


def _names(asked: str, found: object) -> list[str]:
    if isinstance(found, str):
        return [found]
    if isinstance(found, list) and found and all(isinstance(item, str) for item in found):
        return found
    message = f"the table of package names says {found!r} for {asked}: not a name, a list of names, or `missing:`"
    raise InputFault(message)


def without_pin(name: str) -> str:
    """The bare name of `nginx=1.22*`."""
    return _PIN.split(name, maxsplit=1)[0]
