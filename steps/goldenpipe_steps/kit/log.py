"""What a step prints: plain lines for people, and `[ 42%] …` lines that are also progress."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Log:
    """The step's output; progress never goes back, and a line is printed only if it says something new."""

    out: TextIO
    started: float = field(default_factory=time.monotonic)
    percent: int = 0
    doing: str = ""
    _last: str = ""

    def say(self, text: str) -> None:
        """Print; what looks like a secret is the caller's to leave out."""
        for line in text.splitlines() or [""]:
            self.out.write(line + "\n")
        self.out.flush()

    def progress(self, percent: float, message: str) -> None:
        """Print `[ nn%] message`; 100 is for the end of the step alone."""
        self.percent = max(self.percent, min(99, int(percent)))
        self.doing = message
        line = f"[{self.percent:3d}%] {message}"
        if line != self._last:
            self._last = line
            self.say(line)

    @property
    def elapsed(self) -> str:
        return duration(time.monotonic() - self.started)


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3 min 07 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def size(count: float) -> str:
    """Bytes as people read them: `512 MiB`, `1.5 GiB`."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    value, unit = float(count), 0
    while value >= 1024 and unit < len(units) - 1:
        value, unit = value / 1024, unit + 1
    text = f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:.0f}"
    return f"{text} {units[unit]}"


def some(names: list[str], limit: int = 8) -> str:
    """`a, b and c`; long lists are cut with a count."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
