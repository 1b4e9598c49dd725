"""Labels by which GoldenPipe finds its own objects."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
IMAGE = "goldenpipe.io/image"
BUILD = "goldenpipe.io/build"
STEP = "goldenpipe.io/step"
OURS = f"{MANAGED_BY}=goldenpipe"


def build_labels(image: str, build: str) -> dict[str, str]:
    """Labels of every object of a build."""
    return {MANAGED_BY: "goldenpipe", IMAGE: image, BUILD: build}


def label(obj: Object, key: str) -> str | None:
    value: str | None = (obj["metadata"].get("labels") or {}).get(key)
    return value
