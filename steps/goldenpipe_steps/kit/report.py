"""The termination message: the one thing about a finished container that Kubernetes keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LIMIT_BYTES = 4096
"""Kubernetes cuts a longer message; cut JSON is no JSON, so this module keeps below it."""

Fact = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What happened, in words, what to do next, and the facts that later steps or the API want."""

    message: str
    hint: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


def encode(report: Report) -> bytes:
    """First line the message; second line JSON where there is a hint or facts."""
    first = _cut(" ".join(report.message.split()), 2048)
    extra: dict[str, object] = {}
    if report.hint:
        extra["hint"] = _cut(" ".join(report.hint.split()), 800).decode()
    facts: dict[str, Fact] = {}
    for key, value in report.facts.items():
        candidate = {**extra, "facts": {**facts, key: value}}
        if len(first) + 1 + len(_json(candidate)) <= LIMIT_BYTES:
            facts[key] = value
    if facts:
        extra["facts"] = facts
    return first + b"\n" + _json(extra) if extra else first


def write(report: Report, path: Path | None) -> None:
    """Write the message where Kubernetes looks for it; outside a Pod there is no such place."""
    if path is not None:
        path.write_bytes(encode(report))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _cut(text: str, limit: int) -> bytes:
    data = text.encode()
    if len(data) <= limit:
        return data
    return data[: limit - 3].decode(errors="ignore").encode() + "…".encode()
