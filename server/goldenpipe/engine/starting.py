"""Steps whose container does not start: what the cluster's Events say of it, since no status does."""

from __future__ import annotations

import time
from typing import Any

from goldenpipe.model.outcome import DOES_NOT_START, step_container
from goldenpipe_kube import Kube

Object = dict[str, Any]
LATE_SECONDS = 5.0
"""A container that has not started by then may be kept from it; it is looked at again after as long."""


class Starting:
    """Remembers since when each build waits for its step's container."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._since: dict[str, tuple[str, float]] = {}

    def forget(self, build: str) -> None:
        self._since.pop(build, None)

    def waited(self, build: str, job: Object, pods: list[Object]) -> float | None:
        """For how long the container of this Job has not started, in seconds; None if it has."""
        if any({"running", "terminated"} & step_container(pod).get("state", {}).keys() for pod in pods):
            self.forget(build)
            return None
        uid, now = job["metadata"]["uid"], time.monotonic()
        known, since = self._since.get(build, ("", now))
        if known != uid:
            since = now
            self._since[build] = uid, since
        return now - since

    async def why(self, job: Object, pods: list[Object]) -> str:
        """The last warning about the Job's Pod, or about the Job where it has none; empty if there is none."""
        about = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=job)
        fields = f"type=Warning,involvedObject.uid={about['metadata']['uid']}"
        warnings = await self._kube.list("Event", fields=fields)
        latest = max(warnings, key=_when, default=None)
        return f"{DOES_NOT_START}{latest['message']}" if latest else ""


def _when(event: Object) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
