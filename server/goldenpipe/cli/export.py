"""`export`: the sealed disk of an image as a file; the file is there whole or not at all."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import click

from goldenpipe.cli.app import Options, client_command
from goldenpipe.cli.client import Client
from goldenpipe.cli.errors import CliError
from goldenpipe.cli.output import size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QCOW2_MAGIC = b"QFI\xfb"
_PIECE = 1 << 20


@click.command()
@click.argument("name")
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to put it; replaced if it exists.",
)
@client_command
def export(options: Options, name: str, out: Path) -> None:
    """Download an image's disk as qcow2, sparse and compressed."""
    received = download(options.client(), name, out)
    click.echo(f"{out}: {size(received)}", err=True)


def download(client: Client, name: str, out: Path) -> int:
    """The disk in `out`; returns its size in bytes."""
    part = out.with_name(out.name + ".part")
    try:
        with client.open_export(name) as answer, part.open("wb") as file:
            received = _receive(answer, file, name)
            file.flush()
            os.fsync(file.fileno())
        part.rename(out)
    except OSError as error:
        raise CliError(f"cannot write {out}: {(error.strerror or str(error)).lower()}.") from error
    finally:
        part.unlink(missing_ok=True)
    return received


def _receive(answer: http.client.HTTPResponse, file: IO[bytes], name: str) -> int:
    total = int(answer.headers.get("Content-Length") or 0)
    received = 0
    with _shown(name, total) as bar:
        for piece in _pieces(answer):
            if received == 0 and not piece.startswith(QCOW2_MAGIC):
                raise CliError(f"what the server sent as disk of {name} is no qcow2; is the address right?")
            file.write(piece)
            received += len(piece)
            bar.advance(len(piece))
    if received == 0 or received < total:
        raise _cut_short(received, total)
    return received


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    received = 0
    while True:
        try:
            piece = answer.read(_PIECE)
        except (http.client.HTTPException, OSError) as error:
            raise _cut_short(received, int(answer.headers.get("Content-Length") or 0)) from error
        if not piece:
            return
        received += len(piece)
        yield piece


def _cut_short(received: int, total: int) -> CliError:
    of = f" of {size(total)}" if total else ""
    return CliError(f"the connection was lost after {size(received)}{of}.", hint="Run the same command again.")


class _Advancing(Protocol):
    def advance(self, number: int) -> None: ...


class _Nothing:
    def advance(self, number: int) -> None:
        """Not a terminal: the last line says it all."""


@contextmanager
def _shown(name: str, total: int) -> Iterator[_Advancing]:
    if not sys.stderr.isatty():
        yield _Nothing()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total or None)
        yield _Download(progress, task)


class _Download:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, number: int) -> None:
        self._progress.advance(self._task, number)
