"""Jobs to run, and a kubelet played by the test: it says of Pods what the kubelet of their node would say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from goldenpipe_kube import Kube, Object
from goldenpipe_local.jobs.backoff import Backoff
from support.watching import until

BACKOFF = Backoff(first_seconds=0.3, longest_seconds=5)


def a_job(name: str = "step", **spec: Any) -> Object:
    container = {"name": "step", "image": "registry.lab/step:1", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 2, "template": template, **spec},
    }


EXIT_20_FAILS = {
    "rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "step", "operator": "In", "values": [20]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
}


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True)
class Kubelet:
    """Says of Pods what the kubelet of their node would say."""

    kube: Kube

    async def ready(self) -> None:
        """The node is there, so Pods are bound to it."""
        await self.kube.ensure({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lab"}})
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        await self.kube.patch("Node", "lab", {"status": ready}, subresource="status")

    async def next_pod(self, *, besides: tuple[str, ...] = ()) -> str:
        """The name of a Pod that has been bound and is not one of these."""

        def new(pod: Object) -> bool:
            return pod["metadata"]["name"] not in besides and bool(pod["spec"].get("nodeName"))

        return str((await until(self.kube, "Pod", new))["metadata"]["name"])

    async def start(self, pod: str) -> None:
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "step", "ready": True, "state": {"running": {"startedAt": now()}}}],
        }
        await self.kube.patch("Pod", pod, {"status": status}, subresource="status")

    async def end(self, pod: str, code: int, *, conditions: tuple[Object, ...] = ()) -> None:
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": now()}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "conditions": [{"type": "Ready", "status": "False"}, *conditions],
            "containerStatuses": [{"name": "step", "ready": False, "state": {"running": None, "terminated": ended}}],
        }
        await self.kube.patch("Pod", pod, {"status": status}, subresource="status")

    async def bury(self, pod: str) -> None:
        """Let a Pod go that somebody has deleted."""
        await self.kube.delete("Pod", pod, grace_seconds=0)
