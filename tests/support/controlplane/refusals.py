"""What an administrator may lay upon a namespace: quotas, and admission policies that refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from goldenpipe_kube import KINDS, Object
from support.controlplane.plane import ControlPlane

_ADMISSION = "admissionregistration.k8s.io/v1"
_SECONDS = 30.0
Test = Callable[[int, Any], bool]
"""Of the status and the JSON of an answer."""


@asynccontextmanager
async def quota(plane: ControlPlane, namespace: str, **hard: str) -> AsyncIterator[None]:
    """In force, and counted, while the context is open; `_` and `__` stand for `.` and `/`."""
    place = f"/api/v1/namespaces/{namespace}/resourcequotas"
    limits = {name.replace("__", "/").replace("_", "."): value for name, value in hard.items()}
    spec = {"metadata": {"name": "tight"}, "spec": {"hard": limits}}
    await asyncio.to_thread(plane.must, "POST", place, spec)
    try:
        await _until(plane, "GET", f"{place}/tight", None, lambda _, found: "used" in found.get("status", {}))
        yield
    finally:
        await asyncio.to_thread(plane.must, "DELETE", f"{place}/tight")


@asynccontextmanager
async def refused(plane: ControlPlane, namespace: str, example: Object, words: str) -> AsyncIterator[None]:
    """A ValidatingAdmissionPolicy refuses all objects of this kind, with these words, while the context is open."""
    kind = KINDS[example["kind"]]
    name = f"{namespace}-{kind.plural}"
    rule = {"apiGroups": [kind.group], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [kind.plural]}
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"namespaceSelector": where, "resourceRules": [rule]},
        "validations": [{"expression": "false", "message": words}],
    }
    root = f"/apis/{_ADMISSION}/validatingadmissionpolic"
    binding = {"policyName": name, "validationActions": ["Deny"]}
    for suffix, content in (("ies", spec), ("ybindings", binding)):
        await asyncio.to_thread(plane.must, "POST", root + suffix, {"metadata": {"name": name}, "spec": content})
    try:
        trial = f"{kind.path(namespace)}?dryRun=All"
        await _until(plane, "POST", trial, example, lambda status, answer: status == 422 and words in answer["message"])
        yield
        await asyncio.to_thread(plane.must, "DELETE", f"{root}ybindings/{name}")
        await _until(plane, "POST", trial, example, lambda status, _: status == 201)
    finally:
        for suffix in ("ybindings", "ies"):
            await asyncio.to_thread(plane.call, "DELETE", f"{root}{suffix}/{name}")


async def _until(plane: ControlPlane, method: str, path: str, body: Object | None, so: Test) -> None:
    """Neither tells when it is in force: ask."""
    async with asyncio.timeout(_SECONDS):
        while not so(*await asyncio.to_thread(plane.call, method, path, body)):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
