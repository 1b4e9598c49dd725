"""Shows a build as it goes: one live bar on a terminal, one line per change elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Protocol

import click

from goldenpipe.cli.client import ApiError, Client, Document
from goldenpipe.cli.errors import CliError
from goldenpipe.cli.output import duration, parse_time, seconds_between

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Display(Protocol):
    """Takes each status document of a build."""

    def show(self, document: Document) -> None: ...


def current_step(document: Document) -> str:
    """The step at work, or the last one that was."""
    steps = document.get("steps", [])
    for wanted in ("in_progress", "failed"):
        for step in steps:
            if step["status"] == wanted:
                return str(step["name"])
    ended = [step["name"] for step in steps if step["status"] == "completed"]
    return str(ended[-1]) if ended else ""


def follow_build(client: Client, name: str, stream: IO[str] | None = None) -> Document:
    """Shows the build until it has ended and returns its last status; a failed build is an error."""
    last: Document = {}
    try:
        with display(stream or sys.stdout) as shown:
            for document in client.watch_status(name):
                last = document
                shown.show(document)
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

    def show(self, document: Document) -> None:
        step, message = current_step(document), str(document.get("message") or document["status"])
        if (step, message) == self._said:
            return
        self._said = (step, message)
        moment = parse_time(document.get("updated_at"))
        time = moment.astimezone().strftime("%H:%M:%S") if moment else "--:--:--"
        click.echo(f"{time}  {document.get('progress', 0):>3}%  {step or '-':<16}  {message}", file=self._stream)


@contextmanager
def live_bar(console: Console) -> Iterator[Display]:
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
    )
    with progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=100, step="", message="waiting for the service")
        self._started = False

    def show(self, document: Document) -> None:
        if not self._started:
            # the time since the request, not since we began to look
            self._started = True
            already = seconds_between(document.get("created_at"), None) or 0.0
            self._progress.tasks[0].start_time = self._progress.get_time() - already
        self._progress.update(
            self._task,
            description=document["name"],
            completed=document.get("progress", 0),
            step=current_step(document),
            message=str(document.get("message") or document["status"]),
        )
        if document["status"] == "failed":
            self._progress.stop_task(self._task)


def took(document: Document) -> str:
    """How long the build took, in words."""
    return duration(seconds_between(document.get("created_at"), document.get("updated_at")))
