"""Pods of one container, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from goldenpipe_kube import Kube, Object
from support.watching import until


def a_pod(*command: str, name: str = "step", **spec: Any) -> Object:
    container = {"name": "step", "image": "registry.lab/step:1", "command": list(command), **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"job": "tiny"}},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def sh(script: str, **spec: Any) -> Object:
    # the kubelet makes one dollar of two
    return a_pod("sh", "-c", script.replace("$$", "$$$$"), **spec)


def in_phase(*phases: str) -> Callable[[Object], bool]:
    return lambda obj: (obj.get("status") or {}).get("phase") in phases


async def ended(kube: Kube, name: str = "step") -> Object:
    return await until(kube, "Pod", in_phase("Succeeded", "Failed"), name=name)


def terminated(pod: Object) -> Object:
    state: Object = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


async def log_of(kube: Kube, name: str = "step", *, follow: bool = False) -> str:
    return b"".join([chunk async for chunk in kube.logs(name, follow=follow)]).decode()
