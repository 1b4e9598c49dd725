"""One run of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ended:
    """How it ended and what it printed."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs `goldenpipe` with these arguments."""

    def __call__(self, *arguments: str) -> Ended: ...
