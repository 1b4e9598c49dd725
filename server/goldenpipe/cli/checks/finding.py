"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # works, but not everything or not well
    FAIL = "fail"  # something needed is missing


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was looked at, what was found and, unless all is well, what to do about it."""

    subject: str
    level: Level
    message: str
    remedy: str = ""


def ok(subject: str, message: str) -> Finding:
    return Finding(subject=subject, level=Level.OK, message=message)


def warn(subject: str, message: str, remedy: str) -> Finding:
    return Finding(subject=subject, level=Level.WARN, message=message, remedy=remedy)


def fail(subject: str, message: str, remedy: str) -> Finding:
    return Finding(subject=subject, level=Level.FAIL, message=message, remedy=remedy)
