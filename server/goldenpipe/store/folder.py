"""A data folder is one process's alone, which the folder itself tells, and who had it before."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goldenpipe.store.writer import StoreError


@contextmanager
def own_folder(folder: Path, identity: str) -> Iterator[str | None]:
    """Hold the folder while the block lasts, and say who held it last; the lock goes with the process, however it ends.

    Whoever held it last on this host cannot run any more, and nobody needs to wait until it lets go of anything.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"the data folder {folder} cannot be used: {error.strerror}; check its permissions"
        raise StoreError(message) from error
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = (
                f"{file.read().strip() or 'another service'} uses the data folder {folder}; choose another --data-dir"
            )
            raise StoreError(message) from error
        before = file.read().strip() or None
        file.seek(0)
        file.truncate()
        file.write(f"{identity}\n")
        file.flush()
        yield before
