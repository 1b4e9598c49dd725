"""Events are forgotten after an hour, as a real apiserver forgets them."""

from __future__ import annotations

import time
from datetime import timedelta

from goldenpipe_local.api.background import Worker
from goldenpipe_local.api.clock import Clock, utc_now
from goldenpipe_local.api.columns import parse_time
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.resources import BY_KEY
from goldenpipe_local.api.selectors import Selector
from goldenpipe_local.api.store import Change

_EVENTS = BY_KEY["events"]
_KEPT = timedelta(hours=1)
_SECONDS_BETWEEN = 60.0


def event_expiry(registry: Registry, *, clock: Clock = utc_now) -> Worker:
    """Looks when an Event is written, at most once a minute: without new Events there is no need to."""
    expiry = EventExpiry(registry, clock)
    return Worker(registry.store, name="event expiry", work=expiry.work, concerns=_is_new_event)


class EventExpiry:
    """Removes old Events."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._last = -_SECONDS_BETWEEN

    def work(self) -> None:
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN:
            return
        self._last = now
        oldest = self._clock() - _KEPT
        for stored in self._registry.store.select(_EVENTS, Selector()):
            if parse_time(stored.object["metadata"]["creationTimestamp"]) < oldest:
                self._registry.remove(_EVENTS, stored)


def _is_new_event(change: Change) -> bool:
    return change.resource == _EVENTS.key and change.type == "ADDED"
