"""Choosing a pipeline and giving each step its chained id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from goldenpipe.errors import Fault, InvalidRequest
from goldenpipe.model.build import Step
from goldenpipe.model.names import build_id, disk_name, job_name, vm_name
from goldenpipe.model.request import ImageRequest
from goldenpipe.model.status import StepStatus
from goldenpipe.planning.context import Guest, Names, build_context, request_context
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.answers import answer_paths
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import Renderer
from goldenpipe.templating.steps import (
    JOB,
    Pipeline,
    StepTemplate,
    read_pipelines,
    read_step,
    render_input,
)

Object = dict[str, Any]

LARGEST_INPUT = 1_000_000
"""Bytes; a Secret holds 1 MiB, and a step's input is one Secret."""
_ANY_GUEST = Guest(address="guest.invalid", port=22)
"""Stands for the guest while there is none: ids must not depend on where it will run."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A build as it will be stored."""

    build: str
    pipeline: str
    pvc: str
    vm: str
    steps: tuple[Step, ...]


def plan_build(request: ImageRequest, bundle: Bundle, settings: ClusterSettings, created_at: datetime) -> Plan:
    """The plan; `InvalidRequest` if no pipeline is for this request or an input is too large for a Secret."""
    document = request.model_dump()
    pipeline = choose_pipeline(document, bundle)
    templates = [read_step(bundle, name) for name in pipeline.steps]
    renderer = Renderer(_context(document, bundle, settings))
    ids = _chained_ids(document, bundle, templates, renderer)
    build = build_id(request.name, f"{ids[-1]} {created_at.isoformat()}")
    steps = tuple(
        Step(
            position=position,
            name=template.name,
            chained_id=chained_id,
            job=job_name(build, position, template.name),
            status=StepStatus.PENDING if renderer.test(template.path, template.when) else StepStatus.SKIPPED,
            message=template.message or template.summary,
            weight=template.weight,
        )
        for position, (template, chained_id) in enumerate(zip(templates, ids, strict=True), start=1)
    )
    disk, vm = disk_name(request.name), vm_name(request.name, build)
    return Plan(build=build, pipeline=pipeline.name, pvc=disk, vm=vm, steps=steps)


def choose_pipeline(request: Object, bundle: Bundle) -> Pipeline:
    """The first pipeline whose `when` is true of the request."""
    pipelines = read_pipelines(bundle)
    renderer = Renderer({"request": request_context(request)})
    for pipeline in pipelines:
        if renderer.test(pipeline.path, pipeline.when):
            return pipeline
    if request["os_type"] == "windows":
        message = "is no installer ISO, and Windows is built from Microsoft's ISO alone; name that"
        fault = Fault("base_iso_url", message)
    elif request_context(request)["base_kind"] == "iso":
        fault = Fault(
            "base_iso_url", "is an installer ISO, and no pipeline is for one; the templates have been changed"
        )
    else:
        fault = Fault("base_iso_url", "is a disk image, and no pipeline is for one; the templates have been changed")
    raise InvalidRequest.of([fault])


def _chained_ids(document: Object, bundle: Bundle, templates: list[StepTemplate], renderer: Renderer) -> list[str]:
    """Each id covers the step's text, what it extends and creates, its input, and the id before it."""
    base = [document["base_iso_url"], document["base_checksum"], document["storage_size"]]
    ids = [_digest(base)]
    for template in templates:
        texts = [bundle.text(path) for path in (template.path, JOB, *(f"manifests/{m}" for m in template.manifests))]
        if any("answer(" in text for text in texts):
            texts += [bundle.files[path] for path in answer_paths(bundle)]
        params = render_input(template, renderer)
        size = len(json.dumps(params).encode())
        if size > LARGEST_INPUT:
            message = (
                f"step {template.name} would need {size} bytes of input, more than the {LARGEST_INPUT} a Secret holds"
            )
            raise InvalidRequest.of([Fault("customizations", message)])
        ids.append(_digest([ids[-1], texts, params]))
    return ids[1:]


def _context(document: Object, bundle: Bundle, settings: ClusterSettings) -> Object:
    names = Names(image=document["name"], build="b", namespace="n", vm="v", disk="d", labels={})
    return build_context(
        request=document, names=names, settings=settings, bundle=bundle, facts={}, guest=_ANY_GUEST, keys=None
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
