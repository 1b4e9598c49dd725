"""What the demo prints: to the terminal and, if asked, into a picture of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from goldenpipe.cli.output import duration, seconds_between
from goldenpipe.cli.progress import Display, Lines, live_bar

WIDTH = 100


class Story:
    """Chapters, sentences, tables and one live bar at a time."""

    def __init__(self, *, record: bool) -> None:
        self._console = Console(record=record, highlight=False, width=WIDTH if record else None)
        self._chapter = 0

    def chapter(self, title: str) -> None:
        self._chapter += 1
        self._console.print(f"\n[bold yellow]{self._chapter}[/]  [bold]{title}[/]")

    def say(self, text: str) -> None:
        self._console.print(Text("   " + text), soft_wrap=not self._console.record)

    def command(self, line: str) -> None:
        self._console.print(Text(f"   $ {line}", style="cyan"), soft_wrap=not self._console.record)

    @contextmanager
    def progress(self) -> Iterator[Display]:
        if not (self._console.is_terminal or self._console.record):
            yield Lines(sys.stdout)
            return
        # a recording console would keep every state of the bar: the bar gets another one, and is printed at its end
        with live_bar(Console(width=self._console.width), transient=True) as bar:
            yield bar
        self._console.print(bar.renderable())

    def found(self, rows: Iterable[tuple[str, str, bool]]) -> None:
        """What was asked for, what is in the image, and whether that is right."""
        table = _table("asked for", "in the image", "")
        for asked_for, seen, right in rows:
            table.add_row(asked_for, Text(seen), Text("yes", style="green") if right else Text("NO", style="bold red"))
        self._console.print(table)

    def steps(self, status: dict[str, Any]) -> None:
        table = _table("step", "time", "what it said")
        for step in status["steps"]:
            seconds = seconds_between(step.get("started_at"), step.get("ended_at"))
            table.add_row(step["name"], duration(seconds) or step["status"], Text(step.get("message") or ""))
        table.add_row(Text("all", style="bold"), duration(seconds_between(status["created_at"], status["updated_at"])))
        self._console.print(table)

    def save(self, picture: Path) -> None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        self._console.save_svg(str(picture), title="make demo")


def _table(*headers: str) -> Table:
    table = Table(box=None, padding=(0, 0, 0, 3), header_style="dim")
    for header in headers:
        table.add_column(header, overflow="fold")
    table.columns[0].no_wrap = True
    return table
