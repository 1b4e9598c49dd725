"""`export`: the sealed disk of an image as a file; the file is there whole or not at all.

The local cluster sends qcow2. KubeVirt's export sends gzipped raw disks; those are converted here.
"""

from __future__ import annotations

import gzip
import http.client
import os
import subprocess
import sys
import zlib
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

MAGIC = {"qcow2": b"QFI\xfb", "gzip": b"\x1f\x8b"}
"""Format of a disk on its way -> how it begins."""
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
    part, raw = (out.with_name(out.name + suffix) for suffix in (".part", ".raw.part"))
    try:
        with client.open_export(name) as answer, part.open("wb") as file:
            disk_format = answer.headers.get("X-Disk-Format", "qcow2")
            received = _receive(answer, file, name, disk_format)
            file.flush()
            os.fsync(file.fileno())
        if disk_format == "gzip":
            _convert(part, raw)
        part.rename(out)
    except OSError as error:
        raise CliError(f"cannot write {out}: {(error.strerror or str(error)).lower()}.") from error
    finally:
        part.unlink(missing_ok=True)
        raw.unlink(missing_ok=True)
    return received


def _receive(answer: http.client.HTTPResponse, file: IO[bytes], name: str, disk_format: str) -> int:
    total = int(answer.headers.get("Content-Length") or 0)
    received = 0
    with _shown(name, total) as bar:
        for piece in _pieces(answer):
            if received == 0 and not piece.startswith(MAGIC.get(disk_format, b"?")):
                raise CliError(f"what the server sent as disk of {name} is no qcow2; is the address right?")
            file.write(piece)
            received += len(piece)
            bar.advance(len(piece))
    if received == 0 or received < total:
        raise _cut_short(received, total)
    return received


def _convert(part: Path, raw: Path) -> None:
    """Makes `part`, a gzipped raw disk, a compressed qcow2, by way of a sparse file."""
    click.echo("Converting the raw disk to qcow2.", err=True)
    command = ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(part)]
    try:
        _unzip(part, raw)
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        message = "the cluster sent a raw disk, and qemu-img, which makes a qcow2 of it, is not here."
        raise CliError(message, hint="Install qemu-utils and run it again.") from error
    except (EOFError, zlib.error, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise CliError(f"the disk that the cluster sent cannot be converted: {said}.") from error


def _unzip(packed: Path, raw: Path) -> None:
    with gzip.open(packed) as source, raw.open("wb") as target:
        while piece := source.read(_PIECE):
            if piece.strip(b"\0"):
                target.write(piece)
            else:
                target.seek(len(piece), os.SEEK_CUR)
        target.truncate()


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
