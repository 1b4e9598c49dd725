"""The Lease that says which service owns the work: what it tells, and when it may be taken. Pure.

Clocks of two machines are never compared: a candidate measures, on its own clock, for how long it has not seen the
Lease change. The times written into it are for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

LEASE = "goldenpipe"
ADDRESS = "goldenpipe.io/address"
"""Annotation: where the holder's REST API answers."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds. A leader counts from before it asked for a renewal, others from when they saw it, so it is out first."""

    lease: int = 10
    """Without a renewal for so long, the Lease is free."""
    renew: float = 2.0
    """Between two renewals, and between two looks of those who wait."""
    request: float = 3.0
    """One request may take so long: there is time for another one before it is too late."""
    stop: float = 8.0
    """After the last renewal: the leader stops its work."""
    fence: float = 9.0
    """After the last renewal: nothing that it would still write is sent."""


@dataclass(frozen=True)
class Candidate:
    """One process that would lead."""

    identity: str
    predecessor: str | None
    """Who ran on this data folder before. It held the folder's lock, so it is gone, and nobody need wait for it."""
    address: str


@dataclass(frozen=True)
class Sighting:
    """The Lease as it was seen last, and since when it has been like that."""

    lease: Object | None
    since: float


def sighted(before: Sighting | None, lease: Object | None, now: float) -> Sighting:
    if before is not None and _beat(before.lease) == _beat(lease):
        return Sighting(lease, before.since)
    return Sighting(lease, now)


def free_in(sighting: Sighting, me: Candidate, now: float, times: Times) -> float:
    """Seconds until this candidate may take the Lease, if nothing changes until then."""
    holder = holder_of(sighting.lease)
    if holder in (None, me.identity, me.predecessor):
        return 0.0
    return max(0.0, sighting.since + _duration(sighting.lease, times) - now)


def leader_of(sighting: Sighting | None, me: Candidate, now: float, times: Times) -> str | None:
    """Where the leader answers; None while nobody leads, or nobody else."""
    if sighting is None or sighting.lease is None or free_in(sighting, me, now, times) == 0:
        return None
    address: str | None = (sighting.lease["metadata"].get("annotations") or {}).get(ADDRESS)
    return address


def holder_of(lease: Object | None) -> str | None:
    """Who has the Lease; None after it was given back."""
    return _spec(lease).get("holderIdentity") or None


def term_of(lease: Object) -> int:
    """How often the Lease has changed hands: no two holders have the same number."""
    return int(_spec(lease).get("leaseTransitions") or 0)


def taken(lease: Object | None, me: Candidate, now: datetime, times: Times) -> Object:
    """The Lease in this candidate's hands; with a resourceVersion, so that only one of two can have it."""
    moment = _micro_time(now)
    spec = {
        "holderIdentity": me.identity,
        "leaseDurationSeconds": times.lease,
        "acquireTime": moment,
        "renewTime": moment,
        "leaseTransitions": 0,
    }
    if lease is None:
        metadata: Object = {"name": LEASE, "annotations": {ADDRESS: me.address}}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    metadata = {**lease["metadata"]}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), ADDRESS: me.address}
    spec["leaseTransitions"] = term_of(lease) + (holder_of(lease) != me.identity)
    return {**lease, "kind": "Lease", "metadata": metadata, "spec": {**_spec(lease), **spec}}


def renewed(lease: Object, now: datetime) -> Object:
    return {**lease, "kind": "Lease", "spec": {**_spec(lease), "renewTime": _micro_time(now)}}


def given_back(lease: Object, now: datetime) -> Object:
    """Free for anybody at once; the count of its holders goes on."""
    spec = {**_spec(lease), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time(now)}
    return {**lease, "kind": "Lease", "spec": spec}


def _spec(lease: Object | None) -> Object:
    return (lease or {}).get("spec") or {}


def _beat(lease: Object | None) -> tuple[Any, ...]:
    spec = _spec(lease)
    return lease is None, spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions")


def _duration(lease: Object | None, times: Times) -> float:
    return float(_spec(lease).get("leaseDurationSeconds") or times.lease)


def _micro_time(now: datetime) -> str:
    """As the API wants it: always six digits after the second."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
