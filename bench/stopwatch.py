"""From the end of a step to the next step's Job, as somebody sees it who only watches."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from goldenpipe_kube import Event, Kube, Object

_BUILD = "goldenpipe.io/build"


class Stopwatch:
    """Starts when a Pod's end was seen, stops when the next Job of the same build is."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._since: dict[str, float] = {}
        self.milliseconds: list[float] = []

    def ended(self, pod: Object) -> None:
        self._since[pod["metadata"]["labels"][_BUILD]] = time.monotonic()

    async def watch(self) -> None:
        """Watch Jobs, for ever."""
        async for event in self._kube.watch("Job"):
            if isinstance(event, Event) and event.type == "ADDED":
                since = self._since.pop(event.object["metadata"]["labels"][_BUILD], None)
                if since is not None:
                    self.milliseconds.append(1000 * (time.monotonic() - since))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
