"""Labels by which GoldenPipe finds its own objects."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
IMAGE = "goldenpipe.io/image"
BUILD = "goldenpipe.io/build"
STEP = "goldenpipe.io/step"
CACHE = "goldenpipe.io/cache"
"""On what outlives its build so that others need not make it again; its value says what it is, for example `iso`."""
_STEP = {"name": "goldenpipe", "component": "step", "part-of": "goldenpipe"}
OURS = f"{MANAGED_BY}=goldenpipe"


def build_labels(image: str, build: str) -> dict[str, str]:
    """Labels of every object of a build."""
    return {MANAGED_BY: "goldenpipe", IMAGE: image, BUILD: build}


def step_labels(image: str, build: str, step: str) -> dict[str, str]:
    """Labels of a step's Job, its Pods and its input."""
    ours = {f"app.kubernetes.io/{key}": value for key, value in _STEP.items()}
    return {**ours, **build_labels(image, build), STEP: step}


def label(obj: Object, key: str) -> str | None:
    value: str | None = (obj["metadata"].get("labels") or {}).get(key)
    return value
