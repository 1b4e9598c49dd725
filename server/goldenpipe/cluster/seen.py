"""The cluster as the watches have shown it: the latest version of each object of ours, by kind and name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from goldenpipe.cluster.labels import BUILD, label

Object = dict[str, Any]

WATCHED = ("Job", "Pod", "VirtualMachine", "VirtualMachineInstance", "DataVolume", "PersistentVolumeClaim")
"""Kinds whose changes drive builds."""


class Seen:
    """A cache that only watches (and answers to our own calls) write to."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in WATCHED}
        self._listed: dict[str, asyncio.Event] = {kind: asyncio.Event() for kind in WATCHED}

    async def wait_listed(self) -> None:
        """Return when every kind was listed once: from then on, what is not here does not exist."""
        for event in self._listed.values():
            await event.wait()

    @property
    def listed(self) -> bool:
        return all(event.is_set() for event in self._listed.values())

    def put(self, obj: Object) -> None:
        self._objects[obj["kind"]][obj["metadata"]["name"]] = obj

    def drop(self, obj: Object) -> None:
        self._objects[obj["kind"]].pop(obj["metadata"]["name"], None)

    def replace_all(self, kind: str, items: Iterable[Object]) -> list[Object]:
        """A complete listing; what vanished while nobody watched is returned."""
        now = {item["metadata"]["name"]: item for item in items}
        gone = [obj for name, obj in self._objects[kind].items() if name not in now]
        self._objects[kind] = now
        self._listed[kind].set()
        return gone

    def get(self, kind: str, name: str) -> Object | None:
        return self._objects[kind].get(name)

    def all(self, kind: str) -> list[Object]:
        return list(self._objects[kind].values())

    def pods_of(self, job: str) -> list[Object]:
        return [pod for pod in self._objects["Pod"].values() if label(pod, "batch.kubernetes.io/job-name") == job]

    def of_build(self, kind: str, build: str) -> list[Object]:
        return [obj for obj in self._objects[kind].values() if label(obj, BUILD) == build]
