"""Fills one claim's folder: fetch, check, unpack, convert, size, put in place. An ISO stays the bytes it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from goldenpipe_local.node.disks import image
from goldenpipe_local.node.disks.content import DISK, FILES, RAW, content_of
from goldenpipe_local.node.disks.download import Checksum, Found, Progress, download, hash_file
from goldenpipe_local.node.disks.problems import TOO_SMALL, ImportProblem, explain_os_error, mentions_no_space
from goldenpipe_local.node.disks.unpack import detect_packing, unpack
from goldenpipe_local.node.files import (
    allocated_bytes,
    private_folder,
    read_json,
    remove_tree,
    sync_file,
    write_json,
)

_RECORD = "filled.json"
_WORK = "import"


@dataclass(frozen=True, kw_only=True)
class Blank:
    """An empty disk."""


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """A disk image from a URL."""

    url: str
    checksum: str | None


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A copy of another claim's disk."""

    claim: Path


Source = Blank | Fetch | Clone


class Volume:
    """The folder of one claim."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def is_filled_for(self, uid: str) -> bool:
        """Whether the disk is complete and was made for this very DataVolume."""
        record = read_json(self.folder / _RECORD)
        return record is not None and record["uid"] == uid and content_of(self.folder) is not None

    def allocated(self) -> int:
        """Bytes that the disk takes here; 0 while there is none."""
        content = content_of(self.folder)
        return allocated_bytes(content.path) if content else 0

    async def fill(self, source: Source, size: int, uid: str, progress: Progress, found: Found) -> None:
        """Make the disk; starts from a clean folder, and leaves one if it fails."""
        remove_tree(self.folder)
        work = private_folder(self.folder / _WORK)
        try:
            ready = await _make(source, size, work / DISK, progress, found)
            await asyncio.to_thread(sync_file, ready)
        except ImportProblem as problem:
            remove_tree(work)
            raise self._with_space(problem) from problem
        except OSError as error:
            remove_tree(work)
            raise explain_os_error(error, self.folder) from error
        except BaseException:
            remove_tree(work)
            raise
        write_json(self.folder / _RECORD, {"uid": uid})
        place = private_folder(self.folder / FILES) / RAW if ready.name == RAW else self.folder / DISK
        ready.replace(place)
        remove_tree(work)

    def _with_space(self, problem: ImportProblem) -> ImportProblem:
        """A program's bare "No space left on device" does not say where; we do."""
        if mentions_no_space(str(problem)):
            return explain_os_error(OSError(28, str(problem)), self.folder)
        return problem


async def _make(source: Source, size: int, target: Path, progress: Progress, found: Found) -> Path:
    """What was made: `target`, or `disk.img` beside it."""
    if isinstance(source, Blank):
        await image.create_blank(target, size)
        return target
    if isinstance(source, Clone):
        content = content_of(source.claim)
        if content is None:
            words = f"the source claim has no disk yet ({source.claim.name})"
            raise ImportProblem(words)
        return await _from_image(content.path, size, target, ours=False)
    if source.url.startswith("file:"):
        return await _from_file(source, size, target, found)
    fetched = target.with_name("download")
    await download(source.url, fetched, _checksum(source), progress, found)
    return await _from_image(fetched, size, target, ours=True)


async def _from_file(source: Fetch, size: int, target: Path, found: Found) -> Path:
    path = Path(unquote(urlsplit(source.url).path))
    if not path.is_file():
        words = f"Unable to connect to file data source: {path} is not a file of this machine"
        raise ImportProblem(words)
    await found()
    checksum = _checksum(source)
    if checksum:
        await asyncio.to_thread(hash_file, path, checksum)
    return await _from_image(path, size, target, ours=False)


async def _from_image(path: Path, size: int, target: Path, *, ours: bool) -> Path:
    """`ours`: the file was made by us for this import and may be moved."""
    packing = detect_packing(path)
    if packing:
        unpacked = target.with_name("unpacked")
        await _in_thread(lambda cancelled: unpack(path, packing, unpacked, size, cancelled))
        if ours:
            path.unlink()
        path, ours = unpacked, True
    info = await image.inspect(path)
    _check_size(info, size)
    is_iso = info.format == "raw" and image.is_iso(path)
    if info.format != "qcow2" and not is_iso:
        await image.convert(path, info, target, size)
        return target
    if is_iso:
        target = target.with_name(RAW)
    # no re-encoding: the qcow2 is what the disk will be
    if ours:
        path.replace(target)
    else:
        await image.copy(path, target, allocated_bytes(path))
    if not is_iso:
        await image.resize(target, info, size)
    return target


async def _in_thread(work: Callable[[threading.Event], None]) -> None:
    """Run blocking work that looks at an event; if we are cancelled it is told, and waited for."""
    cancelled = threading.Event()
    task = asyncio.create_task(asyncio.to_thread(work, cancelled))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait([task])
        raise


def _check_size(info: image.ImageInfo, size: int) -> None:
    if info.virtual_size > size:
        raise ImportProblem(TOO_SMALL)


def _checksum(source: Fetch) -> Checksum | None:
    return Checksum.parse(source.checksum) if source.checksum else None
