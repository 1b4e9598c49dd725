"""The cluster as the watches have shown it: the latest version of each object of ours, by kind and name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from goldenpipe.cluster.labels import BUILD, label

Object = dict[str, Any]

WATCHED = ("Job", "Pod", "VirtualMachine", "VirtualMachineInstance", "DataVolume", "PersistentVolumeClaim")
"""Kinds whose changes drive builds."""


_OF_STEPS = ("Job", "Pod")
"""Kinds of which hundreds stay in the cluster when a build has ended."""
_JOB = "batch.kubernetes.io/job-name"


class Seen:
    """A cache that only watches (and answers to our own calls) write to.

    Jobs and Pods are kept while `runs` says that their build does, so that memory does not grow with history.
    """

    def __init__(self, runs: Callable[[str], bool]) -> None:
        self._runs = runs
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in WATCHED}
        self._pods: dict[str, dict[str, Object]] = {}
        """By the name of their Job, then by their own."""
        self._listed: dict[str, asyncio.Event] = {kind: asyncio.Event() for kind in WATCHED}

    async def wait_listed(self) -> None:
        """Return when every kind was listed once: from then on, what is not here does not exist."""
        for event in self._listed.values():
            await event.wait()

    @property
    def listed(self) -> bool:
        return all(event.is_set() for event in self._listed.values())

    def put(self, obj: Object) -> None:
        if obj["kind"] in _OF_STEPS and not self._runs(label(obj, BUILD) or ""):
            return
        name = obj["metadata"]["name"]
        self._objects[obj["kind"]][name] = obj
        if obj["kind"] == "Pod":
            self._pods.setdefault(label(obj, _JOB) or "", {})[name] = obj

    def drop(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        self._objects[obj["kind"]].pop(name, None)
        if obj["kind"] == "Pod":
            job = label(obj, _JOB) or ""
            pods = self._pods.get(job, {})
            pods.pop(name, None)
            if not pods:
                self._pods.pop(job, None)

    def forget(self, build: str) -> None:
        """The build has ended: its Jobs and Pods are of no more interest."""
        for kind in _OF_STEPS:
            for obj in [obj for obj in self._objects[kind].values() if label(obj, BUILD) == build]:
                self.drop(obj)

    def replace_all(self, kind: str, items: Iterable[Object]) -> list[Object]:
        """A complete listing; what vanished while nobody watched is returned."""
        listed = {item["metadata"]["name"]: item for item in items}
        gone = [obj for name, obj in self._objects[kind].items() if name not in listed]
        for obj in gone:
            self.drop(obj)
        for obj in listed.values():
            self.put(obj)
        self._listed[kind].set()
        return gone

    def get(self, kind: str, name: str) -> Object | None:
        return self._objects[kind].get(name)

    def all(self, kind: str) -> list[Object]:
        return list(self._objects[kind].values())

    def pods_of(self, job: str) -> list[Object]:
        return list(self._pods.get(job, {}).values())
