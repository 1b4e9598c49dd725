"""Shows a build as it goes: one live bar on a terminal, one line per change elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Protocol

import click

from goldenpipe.cli.client import ApiError, Client, Document
from goldenpipe.cli.errors import CliError
from goldenpipe.cli.output import duration, seconds_between

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress


@dataclass(frozen=True, kw_only=True)
class View:
    """What is shown of some work at one moment."""

    title: str
    percent: int
    message: str
    step: str = ""
    failed: bool = False
    seconds: float = 0.0
    """Since the work began; the bar goes on counting by itself."""

    @classmethod
    def of(cls, document: Document) -> View:
        return cls(
            title=document["name"],
            percent=document.get("progress") or 0,
            message=str(document.get("message") or document["status"]),
            step=current_step(document),
            failed=document["status"] == "failed",
            seconds=seconds_between(document.get("created_at"), None) or 0.0,
        )


class Display(Protocol):
    """Takes each view of some work as it goes."""

    def show(self, view: View) -> None: ...


def current_step(document: Document) -> str:
    """The step at work; between two steps the one that comes, as the message does; at the end the last that ran."""
    by_status: dict[str, list[str]] = {}
    for step in document.get("steps", []):
        by_status.setdefault(step["status"], []).append(str(step["name"]))
    at_work = by_status.get("in_progress", []) + by_status.get("failed", [])
    if at_work:
        return at_work[0]
    if document["status"] == "creating" and "pending" in by_status:
        return by_status["pending"][0]
    return by_status.get("completed", [""])[-1]


def follow_build(client: Client, name: str, stream: IO[str] | None = None) -> Document:
    """Shows the build until it has ended and returns its last status; a failed build is an error."""
    last: Document = {}
    try:
        with display(stream or sys.stdout) as shown:
            for document in client.watch_status(name):
                last = document
                shown.show(View.of(document))
    except KeyboardInterrupt:
        raise _Interrupted(name) from None
    except ApiError as error:
        if error.status == 404 and last:
            raise CliError(f"image {name} was deleted while it was being built.") from error
        raise
    if last["status"] != "ready":
        raise build_failure(last)
    return last


class _Interrupted(CliError):
    """Ctrl-C ends the watching, not the build."""

    exit_code = 130

    def __init__(self, name: str) -> None:
        super().__init__(
            "stopped watching; the build goes on.",
            hint=f"Watch again: goldenpipe status {name} --watch. Cancel it: goldenpipe delete {name}.",
        )


def build_failure(document: Document) -> CliError:
    """Why the build failed, in the service's own words."""
    error = document.get("error") or {}
    step = error.get("step")
    name = document["name"]
    place = f" in step {step}" if step else ""
    log = f"Its log: goldenpipe logs {name} {step}" if step else ""
    return CliError(
        f"image {name} failed{place}: {error.get('message') or document.get('message') or 'no reason was given'}",
        hint="\n".join(line for line in (error.get("hint"), log) if line),
    )


@contextmanager
def display(stream: IO[str]) -> Iterator[Display]:
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console

    with live_bar(Console(file=stream)) as bar:
        yield bar


class Lines:
    """For logs and pipes: a line for each new step or message."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._said: tuple[str, str] | None = None

    def show(self, view: View) -> None:
        if (view.step, view.message) == self._said:
            return
        self._said = (view.step, view.message)
        step = f"{view.step:<16}  " if view.step else ""
        click.echo(
            f"{datetime.now().astimezone():%H:%M:%S}  {view.percent:>3}%  {step}{view.message}", file=self._stream
        )


@contextmanager
def live_bar(console: Console, *, transient: bool = False) -> Iterator[Bar]:
    """One line that stays in its place: bar, step, message and the time since the request."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    progress = Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[step]}", style="cyan", markup=False),
        TextColumn(
            "{task.fields[message]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
        TimeElapsedColumn(),
        console=console,
        expand=True,
        transient=transient,
    )
    with progress:
        yield Bar(progress)


class Bar:
    """The live line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=100, step="", message="", start=False)

    def show(self, view: View) -> None:
        task = self._progress.tasks[0]
        if not task.started:
            self._progress.start_task(self._task)
            # the time since the request, not since we began to look
            task.start_time = self._progress.get_time() - view.seconds
        self._progress.update(
            self._task, description=view.title, completed=view.percent, step=view.step, message=view.message
        )
        if view.failed:
            self._progress.stop_task(self._task)

    def renderable(self) -> RenderableType:
        """Its last state, to be printed once more."""
        return self._progress.get_renderable()


def took(document: Document) -> str:
    """How long the build took, in words."""
    return duration(seconds_between(document.get("created_at"), document.get("updated_at")))
