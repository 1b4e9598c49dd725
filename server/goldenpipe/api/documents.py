"""Images as the REST contract writes them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from goldenpipe.model.build import Build, Step, seconds_between
from goldenpipe.model.quantities import format_bytes
from goldenpipe.model.status import BuildState

Object = dict[str, Any]


def moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary_document(build: Build) -> Object:
    """One entry of the list."""
    document: Object = {
        "name": build.name,
        "os_type": build.os_type,
        "status": build.status.value,
        "created_at": moment(build.created_at),
        "updated_at": moment(build.updated_at),
        "labels": build.labels,
        "pvc_name": build.pvc,
    }
    if build.state is BuildState.SUCCEEDED and build.size_bytes is not None:
        document["size"] = format_bytes(build.size_bytes)
    return document


def created_document(build: Build) -> Object:
    """The image in the answer to its creation."""
    return {**summary_document(build), "customizations": _customizations(build), "vm_name": build.vm}


def image_document(build: Build) -> Object:
    """One image."""
    return {
        **summary_document(build),
        "customizations": _customizations(build),
        "vm_name": build.vm,
        "progress": build.progress,
        "duration_seconds": _duration(build),
        "error": error_document(build),
    }


def status_document(build: Build) -> Object:
    """What is going on with an image."""
    return {
        "name": build.name,
        "status": build.status.value,
        "progress": build.progress,
        "message": build.message,
        "created_at": moment(build.created_at),
        "updated_at": moment(build.updated_at),
        "steps": [_step(step) for step in build.steps],
        "error": error_document(build),
    }


def error_document(build: Build) -> Object | None:
    return asdict(build.error) if build.error else None


def _step(step: Step) -> Object:
    document: Object = {"name": step.name, "status": step.status.value, "message": step.message}
    if step.started_at:
        document["started_at"] = moment(step.started_at)
    if step.ended_at:
        document["ended_at"] = moment(step.ended_at)
    if step.seconds is not None:
        document["duration_seconds"] = round(step.seconds, 3)
    return document


def _customizations(build: Build) -> Object:
    """What the contract shows of them: neither files, nor users, nor keys."""
    wanted = build.request["customizations"]
    return {"packages": wanted["packages"], "scripts": wanted["scripts"]}


def _duration(build: Build) -> float | None:
    if build.started_at is None:
        return None
    return round(seconds_between(build.started_at, build.ended_at or datetime.now(UTC)), 1)
