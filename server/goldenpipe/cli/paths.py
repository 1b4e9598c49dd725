"""Folders by the XDG rules."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir() -> Path:
    return _folder("XDG_DATA_HOME", ".local/share")


def cache_dir() -> Path:
    return _folder("XDG_CACHE_HOME", ".cache")


def _folder(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    # the XDG specification says that a relative path is to be ignored
    return (Path(base) if base.startswith("/") else Path.home() / default) / "goldenpipe"
