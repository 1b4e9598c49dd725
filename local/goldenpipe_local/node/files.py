"""Small helpers for the node's folders: atomic writes, durable writes, sizes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write so that a reader sees the old content or the new, never a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def write_json(path: Path, document: Any) -> None:
    write_atomically(path, json.dumps(document).encode())


def read_json(path: Path) -> Any | None:
    """The document, or None where there is no file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def remove_tree(path: Path) -> None:
    """Remove a folder or a file and all below it; fine if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def allocated_bytes(path: Path) -> int:
    """The bytes a file really takes on the disk, holes left out."""
    return path.stat().st_blocks * 512


def sync_file(path: Path) -> None:
    """Put a file's content and its name on stable storage."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
