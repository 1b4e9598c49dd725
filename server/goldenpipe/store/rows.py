"""Between rows and values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from goldenpipe.model.build import Build, BuildError, Step
from goldenpipe.model.status import BuildState, StepStatus, Target

Row = Mapping[str, Any]
_PLAIN = ("id", "name", "os_type", "pipeline", "pvc", "vm", "vm_uid", "size_bytes", "recorded")
"""Columns of a build that hold the value itself."""


def to_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def step_row(build: str, step: Step) -> dict[str, Any]:
    return {
        "build": build,
        **asdict(step),
        "status": step.status.value,
        "started_at": step.started_at and to_text(step.started_at),
        "ended_at": step.ended_at and to_text(step.ended_at),
    }


def step_from(row: Row) -> Step:
    values = {key: value for key, value in row.items() if key != "build"}
    return Step(
        **{
            **values,
            "status": StepStatus(row["status"]),
            "started_at": _moment(row["started_at"]),
            "ended_at": _moment(row["ended_at"]),
        }
    )


def build_row(build: Build) -> dict[str, Any]:
    return {
        **{column: getattr(build, column) for column in _PLAIN},
        "request": json.dumps(build.request),
        "labels": json.dumps(build.labels),
        "target": build.target.value,
        "state": build.state.value,
        "bundle": build.templates,
        "facts": json.dumps(build.facts),
        "error": json.dumps(asdict(build.error)) if build.error else None,
        "created_at": to_text(build.created_at),
        "updated_at": to_text(build.updated_at),
        "started_at": build.started_at and to_text(build.started_at),
        "ended_at": build.ended_at and to_text(build.ended_at),
    }


def build_from(row: Row, steps: tuple[Step, ...], objects: tuple[tuple[str, str], ...]) -> Build:
    created, updated = datetime.fromisoformat(row["created_at"]), datetime.fromisoformat(row["updated_at"])
    error = json.loads(row["error"]) if row["error"] else None
    return Build(
        id=row["id"],
        name=row["name"],
        os_type=row["os_type"],
        request=json.loads(row["request"]),
        labels=json.loads(row["labels"]),
        target=Target(row["target"]),
        state=BuildState(row["state"]),
        templates=row["bundle"],
        pipeline=row["pipeline"],
        pvc=row["pvc"],
        vm=row["vm"],
        vm_uid=row["vm_uid"],
        steps=steps,
        objects=objects,
        facts=json.loads(row["facts"]),
        error=BuildError(**error) if error else None,
        size_bytes=row["size_bytes"],
        created_at=created,
        updated_at=updated,
        started_at=_moment(row["started_at"]),
        ended_at=_moment(row["ended_at"]),
        recorded=row["recorded"],
    )
