"""Waiting for what a cluster is to say, by its watch; never by sleeping."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from goldenpipe_kube import Event, Kube, Listed, Object

PATIENCE = 10.0


async def until(
    kube: Kube, kind: str, wanted: Callable[[Object], bool], *, name: str = "", seconds: float = PATIENCE
) -> Object:
    """The first object of this kind that is as wanted."""
    fields = f"metadata.name={name}" if name else ""
    async with asyncio.timeout(seconds):
        async for event in kube.watch(kind, fields=fields):
            if not isinstance(event, Listed) and event.type != "DELETED" and wanted(event.object):
                return event.object
    raise AssertionError


async def until_gone(kube: Kube, kind: str, name: str, *, seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        async for event in kube.watch(kind, fields=f"metadata.name={name}"):
            if isinstance(event, Listed):
                if not event.items:
                    return
            elif event.type == "DELETED":
                return


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that a Job's status ever said, in order."""

    statuses: list[Object]

    def conditions(self) -> list[list[str]]:
        """The types of the true conditions, each time that they changed."""
        told: list[list[str]] = []
        for status in self.statuses:
            true = [item["type"] for item in status.get("conditions") or [] if item["status"] == "True"]
            if not told or told[-1] != true:
                told.append(true)
        return told


async def story_of(kube: Kube, name: str, since: str) -> Story:
    """The history that the server keeps, read by a watch from a version on to the Job's last."""
    last = (await kube.get("Job", name))["metadata"]["resourceVersion"]
    query = f"watch=true&resourceVersion={since}&fieldSelector=metadata.name%3D{name}&timeoutSeconds=1"
    statuses: list[Object] = []
    async for event in raw_watch(kube, f"/apis/batch/v1/namespaces/{kube.namespace}/jobs?{query}"):
        statuses.append(event.object.get("status") or {})
        if event.object["metadata"]["resourceVersion"] == last:
            break
    return Story(statuses=statuses)


async def raw_watch(kube: Kube, path: str) -> AsyncIterator[Event]:
    async with kube._request("GET", path, accept="application/json") as answer:
        async for line in answer.content:
            document = json.loads(line)
            yield Event(document["type"], document["object"])
