"""What a command tells the user when it could not do its work: one sentence, and what to do next."""

from __future__ import annotations

import sys
from typing import IO, Any

import click


class CliError(click.ClickException):
    """The command failed; `hint` says what to do next, `notes` are further lines such as the faults of a request."""

    def __init__(self, message: str, *, hint: str = "", notes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.notes = notes

    def show(self, file: IO[Any] | None = None) -> None:
        stream = file or sys.stderr
        click.echo(f"{click.style('goldenpipe:', fg='red')} {self.message}", file=stream)
        for note in self.notes:
            click.echo(f"  {note}", file=stream)
        if self.hint:
            click.echo(self.hint, file=stream)
