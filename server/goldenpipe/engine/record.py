"""What the cluster keeps of a build, so that the store can be lost: the documents, and builds made of them. Pure.

The plan (a Secret) is written once. The history is what became of it so far: each step's input Secret carries it at
the moment that the step starts, the index (a ConfigMap) when the build has come to its end.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from goldenpipe.cluster.labels import build_labels
from goldenpipe.errors import Fault
from goldenpipe.model.build import Build, BuildError, Step
from goldenpipe.model.status import BuildState, StepStatus, Target
from goldenpipe.templating.bundle import Bundle

Object = dict[str, Any]

RECORD = "goldenpipe.io/record"
"""Label of the index and of the plan."""
HISTORY = "goldenpipe.io/history"
"""Annotation of a step's input Secret."""
LARGEST_RECORD = 1_000_000
"""Bytes, packed; a Secret holds 1 MiB."""
_PLAN = "build.json.gz"
_STEPS_BYTES = 50_000
"""More than the steps and names of any plan take, packed."""
_PLANNED = ("id", "name", "os_type", "request", "labels", "pipeline", "pvc", "vm")
_PLANNED_OF_STEP = ("position", "name", "chained_id", "job", "message", "weight")
_TOLD_OF_STEP = ("message", "job_uid")


def size_fault(request: Object, bundle: Bundle) -> Fault | None:
    """Why a build cannot be recorded; None if it can."""
    raw = {"customizations": request, "templates": dict(bundle.files)}
    texts = {path: json.dumps(part).encode() for path, part in raw.items()}
    if sum(map(len, texts.values())) + _STEPS_BYTES <= LARGEST_RECORD:
        return None
    sizes = {path: len(gzip.compress(text, mtime=0)) for path, text in texts.items()}
    total = sum(sizes.values()) + _STEPS_BYTES
    if total <= LARGEST_RECORD:
        return None
    message = (
        f"the record of the build would take {total} bytes, packed ({sizes['customizations']} of the request, "
        f"{sizes['templates']} of the templates), more than the {LARGEST_RECORD} that a Secret holds; "
        "keep large files on a server and fetch them in a script"
    )
    return Fault(max(sizes, key=lambda path: sizes[path]), message)


def record_name(build: str) -> str:
    return f"{build}-record"


def index_of(build: Build, state: BuildState) -> Object:
    """The ConfigMap by which records are found."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": record_name(build.id), "labels": _labels(build)},
        "data": index_data(build, state),
    }


def index_data(build: Build, state: BuildState) -> dict[str, str]:
    """Everything in it is text; what is not known yet is left out."""
    data = {
        "image": build.name,
        "build": build.id,
        "created_at": build.created_at.isoformat(),
        "target": build.target.value,
        "state": state.value,
    }
    if state is not BuildState.QUEUED:  # how far it is by now, its steps' input Secrets tell
        data["history"] = json.dumps(history_of(build))
    if build.error:
        data["error"] = json.dumps(asdict(build.error))
    if build.size_bytes is not None:
        data["size_bytes"] = str(build.size_bytes)
    return data


def plan_of(build: Build, bundle: Bundle, index: Object) -> Object:
    """The Secret; it belongs to the index, so that none is left that cannot be found."""
    document = {
        **{key: getattr(build, key) for key in _PLANNED},
        "created_at": build.created_at.isoformat(),
        "steps": [
            {key: getattr(step, key) for key in _PLANNED_OF_STEP} | {"skipped": step.status is StepStatus.SKIPPED}
            for step in build.steps
        ],
        "files": dict(bundle.files),
    }
    packed = gzip.compress(json.dumps(document).encode(), mtime=0)
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": index["metadata"]["name"],
        "uid": index["metadata"]["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": record_name(build.id), "labels": _labels(build), "ownerReferences": [owner]},
        "data": {_PLAN: base64.b64encode(packed).decode()},
    }


def history_of(build: Build, *, now: Step | None = None, about_to_make: tuple[tuple[str, str], ...] = ()) -> Object:
    """What has become of the plan so far, and what is done now."""
    steps = [now if now is not None and step.position == now.position else step for step in build.steps]
    return {
        "started_at": _text(build.started_at),
        "ended_at": _text(build.ended_at),
        "facts": build.facts,
        "vm_uid": build.vm_uid,
        "objects": [list(made) for made in dict.fromkeys((*build.objects, *about_to_make))],
        "steps": {
            step.name: {
                **{key: getattr(step, key) for key in _TOLD_OF_STEP},
                "status": step.status.value,
                "started_at": _text(step.started_at),
                "ended_at": _text(step.ended_at),
            }
            for step in steps
            if step.status not in (StepStatus.PENDING, StepStatus.SKIPPED)
        },
    }


@dataclass(frozen=True, kw_only=True)
class Index:
    """A record as the index tells it."""

    build: str
    image: str
    target: Target
    state: BuildState
    error: BuildError | None
    size_bytes: int | None
    history: Object | None

    @classmethod
    def read(cls, config_map: Object) -> Index:
        data: Mapping[str, str] = config_map["data"]
        return cls(
            build=data["build"],
            image=data["image"],
            target=Target(data["target"]),
            state=BuildState(data["state"]),
            error=BuildError(**json.loads(data["error"])) if "error" in data else None,
            size_bytes=int(data["size_bytes"]) if "size_bytes" in data else None,
            history=json.loads(data["history"]) if "history" in data else None,
        )


def planned(secret: Object) -> tuple[Build, Bundle]:
    """The build as it was when it was asked for, and its templates."""
    document = json.loads(gzip.decompress(base64.b64decode(secret["data"][_PLAN])))
    bundle, created_at = Bundle(document["files"]), datetime.fromisoformat(document["created_at"])
    steps = tuple(
        Step(**step, status=StepStatus.SKIPPED if skipped else StepStatus.PENDING)
        for step, skipped in ((step, step.pop("skipped")) for step in document["steps"])
    )
    build = Build(
        **{key: document[key] for key in _PLANNED},
        target=Target.PRESENT,
        state=BuildState.QUEUED,
        templates=bundle.digest,
        steps=steps,
        objects=(),
        facts={},
        error=None,
        vm_uid=None,
        size_bytes=None,
        created_at=created_at,
        updated_at=created_at,
        started_at=None,
        ended_at=None,
    )
    return build, bundle


def with_history(build: Build, history: Object) -> Build:
    """The build with what became of it."""
    steps = tuple(_with_history(step, history["steps"].get(step.name)) for step in build.steps)
    ended_at = _moment(history["ended_at"])
    moments = [moment for step in steps for moment in (step.started_at, step.ended_at) if moment]
    return replace(
        build,
        steps=steps,
        facts=history["facts"],
        size_bytes=history["facts"].get("size_bytes"),
        objects=tuple((kind, name) for kind, name in history["objects"]),
        vm_uid=history["vm_uid"],
        started_at=_moment(history["started_at"]),
        ended_at=ended_at,
        updated_at=ended_at or max(moments, default=build.created_at),
    )


def _with_history(step: Step, told: Object | None) -> Step:
    if told is None:
        return step
    status = StepStatus(told["status"])
    return replace(
        step,
        **{key: told[key] for key in _TOLD_OF_STEP},
        status=status,
        progress=100 if status is StepStatus.COMPLETED else 0,
        started_at=_moment(told["started_at"]),
        ended_at=_moment(told["ended_at"]),
    )


def _labels(build: Build) -> dict[str, str]:
    return {**build_labels(build.name, build.id), RECORD: "build"}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
