"""The Job controller: a client of the API that runs Jobs as Kubernetes' own controller does, minus its delays."""

from __future__ import annotations

from goldenpipe_local.jobs.controller import JobController

__all__ = ["JobController"]
