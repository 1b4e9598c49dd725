"""Turns what mmdebstrap prints into progress lines."""

from __future__ import annotations

import re
from collections.abc import Callable

_STAGES = (
    ("I: running apt-get update", 1, "Reading the package lists"),
    ("I: downloading packages", 4, "Downloading packages"),
    ("I: extracting archives", 8, "Unpacking the base system"),
    ("I: installing essential packages", 14, "Setting up the base system"),
    ("I: installing remaining packages", 24, "Installing packages"),
    ("update-initramfs: Generating", 76, "Making the initramfs"),
)
_TO_INSTALL = re.compile(r"(\d+) newly installed")
_UNPACKING_TO_SETTING_UP = (24, 76)


class Progress:
    """Reads lines and says stages and, within the longest, the packages."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._packages = 0
        self._done = 0
        self._counting = False

    def read(self, line: str) -> None:
        """One line of mmdebstrap, of the apt and dpkg in it, or of finish.sh."""
        for start, percent, message in _STAGES:
            if line.startswith(start):
                self._counting = message == "Installing packages"
                self._say(f"[{percent:3}%] {message}")
        if match := _TO_INSTALL.search(line):
            self._packages, self._done = int(match[1]), 0
        if self._counting and line.startswith(("Unpacking ", "Setting up ")) and self._packages:
            self._count(line)

    def _count(self, line: str) -> None:
        self._done += 1
        first, last = _UNPACKING_TO_SETTING_UP
        percent = first + (last - first) * min(self._done, 2 * self._packages) // (2 * self._packages)
        self._say(f"[{percent:3}%] {' '.join(line.split()[: -1 if line.endswith('...') else None])}")
