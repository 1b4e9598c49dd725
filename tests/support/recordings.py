"""Recordings of a real KubeVirt, CDI and Kubernetes, from the folder `shared` beside the project where it is there.

A recording is played to an API server as the controllers that were recorded would write to it, event by event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from goldenpipe_kube import Conflict, Kube, NotFound, Object

_FOLDER = Path(__file__).parents[3] / "shared" / "recordings"
NAMES = (
    *("dv-404", "dv-checksum-mismatch", "dv-http-ok", "dv-not-an-image", "dv-refused", "dv-too-small"),
    *("job-deadline", "job-exit-0", "job-exit-1", "job-exit-20", "job-image-never", "job-image-pull", "job-oom"),
    *("job-pod-deleted", "job-suspend-running", "job-suspended"),
    *("vm-deleted-while-running", "vm-dv-failing", "vm-guest-reboot", "vm-killed", "vm-manual-lifecycle"),
    *("vm-missing-dv", "vm-missing-pvc", "vm-once-iso", "vm-once-iso-reboot", "vm-unschedulable"),
    "vm-vmi-deleted-while-running",
)
_NODE = "lab"
_NO_STATUS_SUBRESOURCE = ("VirtualMachineInstance",)
_OF_THE_SERVER = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One event as a client's watch got it."""

    at: float
    type: str
    kind: str
    object: Object

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def status(self) -> Object:
        return dict(self.object.get("status") or {})

    @property
    def deleting(self) -> bool:
        return bool(self.object["metadata"].get("deletionTimestamp"))

    def condition(self, kind: str) -> Object:
        return next((each for each in self.status.get("conditions") or [] if each["type"] == kind), {})

    @property
    def container(self) -> Object:
        """The state of a Pod's only container."""
        statuses = self.status.get("containerStatuses") or [{}]
        return dict(statuses[0].get("state") or {})


def recording(name: str, *kinds: str) -> list[Recorded]:
    """The events of these kinds, in the order in which the API server committed them."""
    if not _FOLDER.is_dir():
        pytest.skip(f"no recordings of KubeVirt and CDI: {_FOLDER} is not there")
    events = list(_events(_FOLDER / f"{name}.jsonl"))
    # each kind had a watch of its own, so that events of two kinds may have arrived in another order
    events.sort(key=lambda event: int(event.object["metadata"]["resourceVersion"]))
    return [event for event in events if event.kind in kinds]


def recorded_job(name: str) -> list[Recorded]:
    """A Job and its Pods, until somebody deleted the Job."""
    events = recording(name, "Job", "Pod")
    ends = [number for number, event in enumerate(events) if event.kind == "Job" and event.type == "DELETED"]
    return events[: ends[0]]


def exits(event: Recorded) -> bool:
    """The container of a Job's Pod has ended, and nobody else has said so yet."""
    return event.kind == "Pod" and event.status["phase"] == "Running" and "terminated" in event.container


def _events(path: Path) -> Iterator[Recorded]:
    for line in path.read_text().splitlines():
        event = json.loads(line)
        yield Recorded(at=event["t"], type=event["type"], kind=event["kind"], object=event["object"])


@dataclass(kw_only=True)
class Player:
    """Writes what was recorded, under the names that this test has for it."""

    kube: Kube
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    """By kind and recorded name; others keep theirs."""
    labels: dict[str, str] = field(default_factory=dict)
    """Put on what is made."""
    annotations: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    """Replaced in what is written, such as addresses."""
    _uids: dict[str, str] = field(default_factory=dict)

    async def play(self, event: Recorded) -> Object | None:
        """Bring the API to the state of this event; the object as it is now, None if it is gone."""
        known = event.object["metadata"]["uid"] in self._uids
        found = await self.kube.find(event.kind, self.name_of(event))
        if event.type == "DELETED":
            return await self._bury(event) if found else None
        if found is None:
            if known:
                return None  # the garbage collector was quicker than the recorded one
            found = await self._create(event)
        self._uids.setdefault(event.object["metadata"]["uid"], found["metadata"]["uid"])
        return await self._change(event)

    async def play_all(self, events: list[Recorded]) -> None:
        for event in events:
            await self.play(event)

    def name_of(self, event: Recorded) -> str:
        """A Pod is named after its Job, as the Job controller does it."""
        name = event.name
        for owner in event.object["metadata"].get("ownerReferences") or []:
            if event.kind == "Pod" and (ours := self.names.get((owner["kind"], owner["name"]))):
                name = ours + name.removeprefix(owner["name"])
        return self.names.get((event.kind, event.name), name)

    async def _create(self, event: Recorded) -> Object:
        obj = self._ours(event.object)
        metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_THE_SERVER}
        metadata.pop("deletionTimestamp", None)
        metadata.pop("deletionGracePeriodSeconds", None)
        metadata |= {"name": self.name_of(event), "namespace": self.kube.namespace}
        metadata["labels"] = {**(metadata.get("labels") or {}), **self.labels}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **self.annotations}
        for owner in metadata.get("ownerReferences") or []:
            owner["name"] = self.names.get((owner["kind"], owner["name"]), owner["name"])
        if event.kind == "Pod":
            obj["spec"].setdefault("nodeName", _NODE)  # a Pod that no node has is deleted without grace
        return await self.kube.create({**obj, "metadata": metadata})

    async def _change(self, event: Recorded) -> Object | None:
        """Status first: what was written before a deletion is not to be lost with the object."""
        found = await self._write_status(event)
        if found is None:
            return None
        name, finalizers = self.name_of(event), event.object["metadata"].get("finalizers") or []
        if (found["metadata"].get("finalizers") or []) != finalizers:
            found = await self.kube.patch(event.kind, name, {"metadata": {"finalizers": finalizers or None}})
        if event.deleting and not found["metadata"].get("deletionTimestamp"):
            await self.kube.delete(event.kind, name)
            return await self.kube.find(event.kind, name)
        return found

    async def _write_status(self, event: Recorded) -> Object | None:
        status = self._ours(event.status)
        subresource = None if event.kind in _NO_STATUS_SUBRESOURCE else "status"
        while True:
            found = await self.kube.find(event.kind, self.name_of(event))
            if found is None or (found.get("status") or {}) == status:
                return found
            try:
                return await self.kube.replace({**found, "status": status}, subresource=subresource)
            except Conflict:
                continue
            except NotFound:
                return None

    async def _bury(self, event: Recorded) -> None:
        name = self.name_of(event)
        await self.kube.patch(event.kind, name, {"metadata": {"finalizers": None}})
        await self.kube.delete(event.kind, name, grace_seconds=0)

    def _ours(self, obj: Object) -> Object:
        """With our uids, namespace and words in the place of the recorded ones."""
        text = json.dumps(obj)
        for recorded, ours in {**self._uids, **self.words}.items():
            text = text.replace(recorded, ours)
        return dict(json.loads(text))
