"""How long a Job waits before it tries once more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """10 s from the end of the first failure, then 20 s, 40 s, ... as Kubernetes has it."""

    first_seconds: float = 10.0
    longest_seconds: float = 600.0

    def after(self, failures: int) -> timedelta:
        if failures == 0:
            return timedelta()
        return timedelta(seconds=min(self.first_seconds * 2 ** min(failures - 1, 30), self.longest_seconds))


class Failures:
    """When each Job last failed, and what of it no number in its status tells. Kept while the process lives."""

    def __init__(self) -> None:
        self._ended: dict[str, dict[str, datetime]] = {}
        self._ignored: dict[str, set[str]] = {}

    def note(self, job: str, pod: str, ended: datetime, *, ignored: bool) -> None:
        """A Pod of this Job failed; telling it again changes nothing."""
        self._ended.setdefault(job, {}).setdefault(pod, ended)
        if ignored:
            self._ignored.setdefault(job, set()).add(pod)

    def next_try(self, job: str, counted: int, backoff: Backoff) -> datetime | None:
        """When the Job may try again; None: at once. `counted` are the failures in its status."""
        ended = self._ended.get(job)
        if not ended:
            return None
        failures = counted + len(self._ignored.get(job, ()))
        return max(ended.values()) + backoff.after(failures)

    def forget(self, job: str) -> None:
        self._ended.pop(job, None)
        self._ignored.pop(job, None)
