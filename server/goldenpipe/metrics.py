"""Prometheus metrics of the service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from goldenpipe.model.build import Step
from goldenpipe.model.status import BuildState

_STEP_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds; from a step that only writes a file to an installer under emulation."""


class Metrics:
    """One registry a service, so that two services in one process do not share figures."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._builds = Counter(
            "goldenpipe_builds", "Builds that ended, by outcome", ["os_type", "outcome"], registry=self._registry
        )
        self._steps = Histogram(
            "goldenpipe_step_duration_seconds",
            "Duration of steps from start to end",
            ["step", "status"],
            buckets=_STEP_BUCKETS,
            registry=self._registry,
        )
        self._api = Histogram(
            "goldenpipe_http_request_duration_seconds",
            "Latency of the REST API",
            ["method", "route", "code"],
            registry=self._registry,
        )
        self._active_vms = Gauge("goldenpipe_active_vms", "Build VMs that run now", registry=self._registry)
        self._queue = Gauge("goldenpipe_queue_depth", "Builds that wait for a slot", registry=self._registry)
        self._running = Gauge("goldenpipe_running_builds", "Builds that run now", registry=self._registry)
        self._leader = Gauge("goldenpipe_leader", "Whether this service owns the work", registry=self._registry)
        self._storage = Gauge("goldenpipe_storage_bytes", "Bytes used by ready images", registry=self._registry)

    def build_ended(self, os_type: str, state: BuildState) -> None:
        self._builds.labels(os_type, state.value).inc()

    def step_ended(self, step: Step) -> None:
        if step.seconds is not None:
            self._steps.labels(step.name, step.status.value).observe(step.seconds)

    def request_ended(self, method: str, route: str, code: int, seconds: float) -> None:
        self._api.labels(method, route, str(code)).observe(seconds)

    def text(self, *, active_vms: int, queued: int, running: int, storage_bytes: int, leads: bool) -> bytes:
        """Everything in the Prometheus text format, with gauges as they are at this moment."""
        self._active_vms.set(active_vms)
        self._queue.set(queued)
        self._running.set(running)
        self._storage.set(storage_bytes)
        self._leader.set(leads)
        return generate_latest(self._registry)
