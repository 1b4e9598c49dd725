"""Taking away what a build has made. Every method asks for what ought to go and answers what is still there."""

from __future__ import annotations

from typing import Any

from goldenpipe.cluster.labels import BUILD, label
from goldenpipe.cluster.seen import Seen
from goldenpipe.model.build import Build
from goldenpipe.model.outcome import outcome_of
from goldenpipe.model.status import StepStatus
from goldenpipe_kube import Kube

Object = dict[str, Any]
Wanted = tuple[str, str]
"""Kind and name."""
_FOLLOWERS = {"VirtualMachine": "VirtualMachineInstance", "DataVolume": "PersistentVolumeClaim"}
"""What goes with an object, and must be gone before the object counts as gone."""


class Cleanup:
    """Deletes by name: the service has no right to list Secrets, and needs none."""

    def __init__(self, kube: Kube, seen: Seen) -> None:
        self._kube, self._seen = kube, seen

    async def after_success(self, build: Build) -> list[str]:
        """What is not the image goes; the finished Jobs stay, but for those whose Pods would hold a claim that goes."""
        image = [("DataSource", build.name), ("DataVolume", build.pvc), ("PersistentVolumeClaim", build.pvc)]
        going = [wanted for wanted in _made(build) if wanted not in image]
        return await self._delete(build, [*self._holding(build, going), *going])

    async def after_failure(self, build: Build) -> list[str]:
        """All but the finished Jobs goes; those stay for `kubectl logs` until their TTL or the image's deletion."""
        made = _made(build)
        running = [("Job", step.job) for step in build.steps if self._runs(step.job)]
        return await self._delete(build, [*running, *self._holding(build, made), *made])

    async def everything(self, build: Build) -> list[str]:
        """Nothing stays."""
        jobs = [("Job", step.job) for step in build.steps if step.status is not StepStatus.SKIPPED]
        left = await self._delete(build, [*jobs, *_made(build)])
        pods = await self._kube.list("Pod", labels=f"{BUILD}={build.id}")
        return [*left, *(f"Pod {pod['metadata']['name']}" for pod in pods)]

    def _holding(self, build: Build, going: list[Wanted]) -> list[Wanted]:
        """Jobs that mount these claims: Kubernetes keeps a claim for as long as any Pod names it, ended or not."""
        claims = {name for kind, name in going if kind == "PersistentVolumeClaim"}
        jobs = ((step.job, self._seen.get("Job", step.job)) for step in build.steps)
        return [("Job", name) for name, job in jobs if job is not None and claims & _mounted(job)]

    def _runs(self, job: str) -> bool:
        found = self._seen.get("Job", job)
        return found is not None and outcome_of(found, self._seen.pods_of(job)).status == "running"

    async def _delete(self, build: Build, wanted: list[Wanted]) -> list[str]:
        """In this order: what uses a thing before the thing. The next is not touched while users of it are left."""
        left: list[str] = []
        for kind, name in wanted:
            if left and kind in ("DataVolume", "PersistentVolumeClaim"):
                return [*left, f"{kind} {name}"]
            found = await self._kube.find(kind, name)
            if found is None or label(found, BUILD) != build.id:
                continue
            if not await self._delete_one(kind, name, found):
                left.append(f"{kind} {name}")
        return left

    async def _delete_one(self, kind: str, name: str, found: Object) -> bool:
        """Whether it is gone."""
        metadata = found["metadata"]
        if metadata.get("deletionTimestamp"):
            return False
        grace = 0 if kind in ("VirtualMachine", "VirtualMachineInstance") else None
        propagation = "Foreground" if kind == "Job" else "Background"  # a Job is gone when its Pods are
        await self._kube.delete(kind, name, propagation=propagation, grace_seconds=grace, uid=metadata["uid"])
        at_once = propagation == "Background" and not metadata.get("finalizers")
        return at_once or await self._kube.find(kind, name) is None


def _mounted(job: Object) -> set[str]:
    volumes = job["spec"]["template"]["spec"].get("volumes") or []
    return {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}


def _made(build: Build) -> list[Wanted]:
    """What the build has made, last thing first, each with what the cluster makes of it."""
    inputs = [("Secret", step.job) for step in build.steps if step.started_at is not None]
    manifests = [
        (kind, name)
        for made, name in reversed(build.objects)
        for kind in (made, *([_FOLLOWERS[made]] if made in _FOLLOWERS else []))
    ]
    return list(dict.fromkeys([*inputs, *manifests]))
