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
    )
