"""Unpacks .xz, .gz and .zst by their magic, leaving holes where the content is zero."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from goldenpipe_local.node.disks.problems import TOO_SMALL, ImportProblem

_MAGICS = ((b"\xfd7zXZ\x00", "xz"), (b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst"))
_BLOCK = 1 << 20
_HOLE = 1 << 16
_ZEROS = bytes(_HOLE)
_SLACK = 1 << 26
"""Bytes that an image file may be larger than the disk in it: headers and tables."""


def detect_packing(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(6)
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)


def unpack(source: Path, packing: str, target: Path, disk_size: int, cancelled: threading.Event) -> None:
    """Unpack (blocking); refuses what grows beyond the disk it is meant for, so that no small file fills the host."""
    limit = disk_size + disk_size // 50 + _SLACK
    written = 0
    try:
        with _opened(source, packing) as packed, target.open("wb") as file:
            while block := packed.read(_BLOCK):
                written += len(block)
                if cancelled.is_set():
                    return
                if written > limit:
                    raise ImportProblem(TOO_SMALL)
                _write_sparse(file, block)
            file.truncate(written)
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise ImportProblem(_broken(packing, str(error))) from error


@contextmanager
def _opened(source: Path, packing: str) -> Iterator[IO[bytes]]:
    if packing == "xz":
        with lzma.open(source) as file:
            yield file
    elif packing == "gz":
        with gzip.open(source) as file:
            yield file  # type: ignore[misc]  # a GzipFile reads like any binary file
    else:
        with _zstd(source) as file:
            yield file


@contextmanager
def _zstd(source: Path) -> Iterator[IO[bytes]]:
    program = shutil.which("zstd")
    if not program:
        words = "the image is packed with zstd and this machine has no zstd program; install the package zstd"
        raise ImportProblem(words)
    command = [program, "-dcq", "--", str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        process.stdout.close()
        words = process.stderr.read().decode(errors="replace").strip()
        if process.wait() not in (0, -13):  # 13: SIGPIPE, we stopped reading
            raise ImportProblem(_broken("zst", words))


def _write_sparse(file: IO[bytes], block: bytes) -> None:
    for start in range(0, len(block), _HOLE):
        part = block[start : start + _HOLE]
        if part == _ZEROS:
            file.seek(len(part), 1)
        else:
            file.write(part)


def _broken(packing: str, words: str) -> str:
    return f"Unable to process data: the {packing} file is damaged: {words}"
