"""Why an import does not succeed, in CDI's words where CDI has words for it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

TOO_SMALL = "DataVolume too small to contain image"


class ImportProblem(Exception):
    """The import failed and is tried again, as CDI does whatever the cause."""


class ChecksumMismatch(Exception):
    """The downloaded bytes are not the expected ones; the only failure that CDI takes as final."""

    def __init__(self, algorithm: str, expected: str, actual: str) -> None:
        super().__init__(
            "Unable to process data: Unable to transfer source data to scratch space: checksum validation failed: "
            f"checksum mismatch: expected {algorithm}:{expected}, calculated {algorithm}:{actual}"
        )


def require_space(folder: Path, needed: int) -> None:
    """Raise `ImportProblem` if the folder's file system cannot take so many bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ImportProblem(_no_space(folder, free, f"{needed - free} bytes more are needed"))


def explain_os_error(error: OSError, folder: Path) -> ImportProblem:
    """An error of the host's disk in words that say which folder it is about."""
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(folder).free
        return ImportProblem(_no_space(folder, free, "more space is needed than there was"))
    return ImportProblem(f"Unable to process data: {error}")


def mentions_no_space(words: str) -> bool:
    return "No space left on device" in words


def _no_space(folder: Path, free: int, missing: str) -> str:
    return (
        f"Unable to process data: no space left on device: {missing} in {folder} "
        f"({free} bytes are free); make room there, the import is tried again by itself"
    )
