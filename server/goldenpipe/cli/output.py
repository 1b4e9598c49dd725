"""How answers look: aligned columns that scripts can cut, JSON, ages and durations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

_COLOURS = {
    "ready": "green",
    "completed": "green",
    "running": "green",
    "creating": "cyan",
    "in_progress": "cyan",
    "failed": "red",
    "deleting": "yellow",
}


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest word; the last one is never padded, and nothing is ever cut off."""
    lines = [tuple(headers), *(tuple(cell or "-" for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        cells[-1] = line[-1]
        click.echo("   ".join(click.style(cell, bold=True) if number == 0 else coloured(cell) for cell in cells))


def coloured(word: str) -> str:
    colour = _COLOURS.get(word.strip())
    return click.style(word, fg=colour) if colour else word


def parse_time(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def seconds_between(start: str | None, end: str | None) -> float | None:
    """None where it has not begun; until now where it has not ended."""
    begin = parse_time(start)
    if begin is None:
        return None
    return max(0.0, ((parse_time(end) or datetime.now(UTC)) - begin).total_seconds())


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 1:
        return f"{whole}s"
    if hours < 1:
        return f"{minutes}m{whole % 60:02}s"
    return f"{hours}h{minutes % 60:02}m" if days < 2 else f"{days}d{hours % 24:02}h"


def age(created_at: str | None) -> str:
    seconds = seconds_between(created_at, None)
    return "" if seconds is None else duration(int(seconds))


def size(number: float) -> str:
    """Bytes as Kubernetes writes them: 1.2Gi."""
    for unit in ("B", "Ki", "Mi", "Gi"):
        if number < 1024:
            return f"{number:.0f}{unit}" if unit == "B" else f"{number:.1f}{unit}"
        number /= 1024
    return f"{number:.1f}Ti"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
