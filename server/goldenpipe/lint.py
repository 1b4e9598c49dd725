"""Checking templates without a cluster: every file is read, every step rendered, every Job checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import yaml

from goldenpipe.planning.context import Guest, Keys, Names, build_context, request_context
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.answers import answer_paths, render_answer
from goldenpipe.templating.bundle import Bundle, TemplateError
from goldenpipe.templating.leaves import Renderer, read_document
from goldenpipe.templating.steps import (
    JOB,
    StepTemplate,
    head_of,
    line_of,
    read_pipelines,
    read_step,
    render_input,
    render_job,
    render_manifests,
)
from goldenpipe_kube import schema_faults

Object = dict[str, Any]

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA sample"
_NAMES = Names(
    image="sample", build="sample-00000", namespace="sample", vm="sample", disk="sample", labels={"sample": "yes"}
)
_FACTS: Object = {
    "used_bytes": 1,
    "size_bytes": 1,
    "os_id": "debian",
    "os_version": "12",
    "os_name": "Debian GNU/Linux 12",
    "kernel": "6.1",
    "package_manager": "apt",
    "source_bytes": 1,
    "iso_distribution": "debian",
    "iso_version": "12.5.0",
    "iso_variant": "netinst",
    "iso_installer": "debian-installer",
    "iso_arch": "amd64",
    "iso_title": "Debian GNU/Linux 12.5.0",
    "iso_firmware": "bios,uefi",
    "iso_sha256": "0" * 64,
    "iso_bytes": 1,
    "iso_recipe": "debian-installer",
    "iso_cache": "goldenpipe-iso-0",
    "boot_iso": "goldenpipe-iso-0",
    "iso_image_index": 1,
    "iso_drivers": "2k22",
}
"""Facts that the built-in steps tell, as later steps may use them."""
_ANY_STEP = StepTemplate(name="sample", summary="Any step with a guest.", needs_vm=True)


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """One fault: the template's path below its folder, the line where that is known, and what is wrong."""

    path: str
    line: int | None
    message: str


def lint(overlays: Iterable[Path] = ()) -> list[Finding]:
    """All faults of the built-in templates with these folders laid over them; empty if there are none."""
    try:
        bundle = Bundle.read(overlays)
    except TemplateError as error:
        return [_finding(error)]
    found = [*_pipeline_faults(bundle), *_script_faults(bundle), *_answer_faults(bundle)]
    for path in bundle.files:
        if match := re.fullmatch(r"steps/([^/]+)\.yaml", path):
            found += _step_faults(bundle, match[1])
    return sorted(set(found), key=lambda finding: (finding.path, finding.line or 0, finding.message))


def sample_requests() -> Iterator[Object]:
    """A request that asks for nothing, and two that ask for everything: of an installer ISO, and of a disk image."""
    base: Object = {
        "name": "sample",
        "os_type": "linux",
        "base_iso_url": "https://images.example/base.qcow2",
        "base_checksum": None,
        "storage_size": "20Gi",
        "cpu": 2,
        "memory": "4Gi",
        "labels": {"team": "sample"},
    }
    nothing: Object = {"packages": [], "scripts": [], "files": {}, "users": [], "ssh_keys": []}
    yield {**base, "labels": {}, "customizations": nothing}
    everything: Object = {
        **base,
        "base_checksum": "sha256:" + "0" * 64,
        "customizations": {
            "packages": ["curl"],
            "scripts": ["#!/bin/sh\ntrue\n"],
            "files": {"/etc/motd": "Hello\n"},
            "users": [{"name": "sample", "password_hash": "$6$x", "groups": ["sudo"], "sudo": True}],
            "ssh_keys": [_KEY],
        },
    }
    yield {**everything, "base_iso_url": "https://images.example/base.iso"}
    yield _windows(everything)
    yield everything


def _windows(everything: Object) -> Object:
    setup = {"edition": None, "product_key": "product-key", "locale": "en-US", "timezone": "UTC", "updates": True}
    own: Object = {
        "packages": ["git"],
        "scripts": ["#ps1\nexit 0\n"],
        "files": {r"C:\motd.txt": "Hello\n"},
        "users": [{"name": "sample", "password_hash": "password-sample", "groups": ["Users"], "sudo": False}],
    }
    return {
        **everything,
        "os_type": "windows",
        "base_iso_url": "https://images.example/windows.iso",
        "accept_eula": True,
        "windows": setup,
        "customizations": {**everything["customizations"], **own},
    }


def _pipeline_faults(bundle: Bundle) -> list[Finding]:
    try:
        pipelines = read_pipelines(bundle)
        for request in sample_requests():
            renderer = Renderer({"request": request_context(request)})
            for pipeline in pipelines:
                renderer.test(pipeline.path, pipeline.when)
    except TemplateError as error:
        return [_finding(error)]
    return [
        Finding(path=pipeline.path, line=None, message=f"step {name!r} does not exist (no steps/{name}.yaml)")
        for pipeline in pipelines
        for name in pipeline.steps
        if f"steps/{name}.yaml" not in bundle.files
    ]


def _script_faults(bundle: Bundle) -> list[Finding]:
    message = "a script starts with #! and its interpreter"
    return [
        Finding(path=path, line=1, message=message)
        for path, text in bundle.files.items()
        if path.startswith("scripts/") and path.endswith(".sh") and not text.startswith("#!")
    ]


def _answer_faults(bundle: Bundle) -> list[Finding]:
    """Each answer file is filled for every sample; what is YAML or XML by its name must be that afterwards."""
    found: list[Finding] = []
    for path in answer_paths(bundle):
        try:
            for request in sample_requests():
                text = render_answer(bundle, path, job_context(bundle, _ANY_STEP, request))
                if check := _FORMATS.get(path.rpartition(".")[2]):
                    found += [Finding(path=path, line=None, message=words) for words in check(text)]
        except TemplateError as error:
            found.append(_finding(error))
    return found


def _yaml_faults(text: str) -> Iterator[str]:
    try:
        yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield f"is not valid YAML once it is filled: {' '.join(str(error).split())}"


def _xml_faults(text: str) -> Iterator[str]:
    try:
        expat.ParserCreate().Parse(text.encode(), True)
    except expat.ExpatError as error:
        yield f"is not well-formed XML once it is filled: {error}"


_FORMATS: dict[str, Callable[[str], Iterator[str]]] = {
    "yaml": _yaml_faults,
    "yml": _yaml_faults,
    "xml": _xml_faults,
}


def _step_faults(bundle: Bundle, name: str) -> list[Finding]:
    found: list[Finding] = []
    try:
        step = read_step(bundle, name)
        for request in sample_requests():
            planning = Renderer(_planning_context(bundle, request))
            planning.test(step.path, step.when)
            render_input(step, planning)
            renderer = Renderer(job_context(bundle, step, request))
            for obj in render_manifests(bundle, step, renderer):
                found += [Finding(path=f"manifests of {step.path}", line=None, message=f) for f in schema_faults(obj)]
            for fault in schema_faults(render_job(bundle, step, renderer)):
                found.append(_located(bundle, step, fault))
    except TemplateError as error:
        return [*found, _finding(error)]
    return found


def _located(bundle: Bundle, step: StepTemplate, fault: str) -> Finding:
    """The fault in the step's own `job`, if the step wrote what is wrong, else in the Job that it extends."""
    place = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", fault.partition(": ")[0])]
    own = read_document(step.path, bundle.text(step.path))
    for path, document, keys in ((step.path, own, ["job", *place]), (JOB, None, place)):
        document = document or read_document(JOB, bundle.text(JOB))
        if line := line_of(document, tuple(keys), whole=True):
            return Finding(path=path, line=line, message=fault)
    return Finding(path=step.path, line=None, message=fault)


def _planning_context(bundle: Bundle, request: Object) -> Object:
    """What `when` and `input` may use: they are rendered before anything runs, so there are no facts and no keys."""
    return build_context(
        request=request,
        names=_NAMES,
        settings=ClusterSettings(),
        bundle=bundle,
        facts={},
        guest=Guest(address="192.0.2.1", port=22),
    )


def job_context(bundle: Bundle, step: StepTemplate, request: Object, settings: ClusterSettings | None = None) -> Object:
    """What a step's manifests and Job may use, with sample values."""
    keys = Keys(user_private="sample", user_public=_KEY, host_private="sample", host_public=_KEY, password="sample")
    guest = Guest(address="192.0.2.1", port=22) if step.needs_vm else None
    context = build_context(
        request=request,
        names=_NAMES,
        settings=settings or ClusterSettings(),
        bundle=bundle,
        facts=_FACTS,
        guest=guest,
        keys=keys if step.needs_vm else None,
    )
    secrets = {"product-key": "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"} if step.needs_vm else {}
    head = head_of(step, Renderer(context))
    own = {"job": "sample-01-step", "chained_id": "0", "labels": {"sample": "yes"}}
    return {**context, "secrets": secrets, "step": {**head, **own}}


def _finding(error: TemplateError) -> Finding:
    return Finding(path=error.path, line=error.line, message=error.message)
