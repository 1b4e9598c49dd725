"""What the tools have in common: whether they are here, and making one compressed qcow2 while the clock runs."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from order import ContestantFailed, Order

BUILD_SECONDS = 1800
_TAIL = 15


class Contestant(ABC):
    """One tool."""

    name: str

    @abstractmethod
    def missing(self) -> str | None:
        """What would have to be installed; None if the tool is here."""

    @abstractmethod
    def version(self) -> str:
        """Which one it is."""

    def ready(self, folder: Path) -> AbstractContextManager[None]:
        """What users have running before they ask for an image; not on the clock."""
        del folder
        return nullcontext()

    @abstractmethod
    def make(self, order: Order, folder: Path, out: Path) -> None:
        """Makes `out`, a compressed qcow2; on the clock from the first line to the last."""


def logged(command: list[str | Path], log: Path, *, environment: Mapping[str, str] | None = None) -> None:
    """Runs a tool with its output in a file; the end of that is the reason when it fails."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        try:
            status = process.wait(BUILD_SECONDS)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
        raise ContestantFailed(f"{Path(command[0]).name} ended with {status}:\n{tail}")
