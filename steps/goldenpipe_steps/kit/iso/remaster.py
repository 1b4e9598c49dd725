"""Writes an installer ISO anew with a few files changed; it boots in every way that the original boots."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_steps.kit.errors import Permanent, Temporary
from goldenpipe_steps.kit.iso import efi_images
from goldenpipe_steps.kit.iso.inspect import inspect
from goldenpipe_steps.kit.iso.medium import Medium
from goldenpipe_steps.kit.iso.reading import Tree, Volume, open_local, open_tree
from goldenpipe_steps.kit.iso.unattended import Recipe, changed_files

PREPARED = "disk.img"
"""There only when it is complete: it is written under another name first."""
_WORK = ".work"
_LOCK = ".lock"
_LOCK_SECONDS = 1.0
_PROGRAMS = ("xorriso", *efi_images.PROGRAMS)
_PERCENT = re.compile(rb"(\d+(?:\.\d+)?)%")

Progress = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class Order:
    """One ISO to write anew."""

    source: Path
    target: Path
    work: Path
    """An empty folder on the same file system as the target, for whatever is needed on the way."""
    recipe: Recipe
    answers: str
    words: str
    medium: Medium
    volume: Volume
    tree: Tree
    progress: Progress


Writer = Callable[[Order], Awaitable[None]]
"""Makes `order.target` out of `order.source`."""


async def write_menus(order: Order) -> None:
    """The same medium with other boot menus, and with the answers where the installer reads them from its initrd."""
    changes = changed_files(order.medium, order.tree, order.recipe, order.answers, order.words)
    changes |= await efi_images.changed_images(order.tree, order.work, f"{order.recipe.words} {order.words}".strip())
    named = {f"file-{number}": path for number, path in enumerate(changes)}
    await _xorriso(order, {path: _put(order.work / name, changes[path]) for name, path in named.items()})
    _check(order, changes)


WRITERS: Mapping[str, Writer] = {}
"""By the recipe's name, where a medium is written in another way than by `write_menus`."""


async def prepare(source: Path, folder: Path, recipe: Recipe, *, answers: str, words: str, progress: Progress) -> bool:
    """Make `disk.img` in the folder; False if it was there already, made by this build or another one."""
    async with _locked(folder / _LOCK, progress):
        if (folder / PREPARED).exists():
            return False
        # of its own: the xorriso of an attempt that was killed may still write into that one's
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
        try:
            with open_local(source) as media:
                volume, tree = open_tree(media)
                order = Order(
                    source=source,
                    target=work / PREPARED,
                    work=work,
                    recipe=recipe,
                    answers=answers,
                    words=words,
                    medium=inspect(volume, tree),
                    volume=volume,
                    tree=tree,
                    progress=progress,
                )
                await WRITERS.get(recipe.name, write_menus)(order)
            await asyncio.to_thread(_put_in_place, order.target, folder / PREPARED)
        except OSError as error:
            raise _trouble(error, folder) from error
        finally:
            for left in folder.glob(f"{_WORK}*"):
                shutil.rmtree(left, ignore_errors=True)
    return True


@contextlib.asynccontextmanager
async def _locked(path: Path, progress: Progress) -> AsyncIterator[None]:
    """Two builds of the same ISO prepare it once."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress(1, "Waiting for another build that prepares the same ISO")
                await asyncio.sleep(_LOCK_SECONDS)  # a file lock tells nobody that it is free
        yield


async def _xorriso(order: Order, files: Mapping[str, Path]) -> None:
    command = ["xorriso", "-indev", f"stdio:{order.source}", "-outdev", f"stdio:{order.target}"]
    command += ["-boot_image", "any", "replay"]
    if re.fullmatch(r"[1-9]\d{15}", order.volume.modified):
        command += ["-volume_date", "uuid", order.volume.modified]
    for path, file in files.items():
        command += ["-map", str(file), f"/{path}"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = bytearray()
    try:
        while chunk := await process.stderr.read(4096):
            said = (said + chunk)[-8192:]
            if b"UPDATE" in chunk and (found := _PERCENT.findall(chunk)):
                order.progress(float(found[-1]), "Writing the ISO anew")
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        raise _failed(bytes(said), order.target.parent)


def _failed(said: bytes, folder: Path) -> Permanent | Temporary:
    lines = [line for line in said.decode(errors="replace").splitlines() if "FAILURE" in line or "FATAL" in line]
    words = (lines or ["no reason given"])[0].partition(": ")[2] or "no reason given"
    if any(sign in said for sign in (b"No space left", b"exceeds free space")):
        return _trouble(OSError(28, "No space left on device"), folder)
    return Permanent(f"the ISO could not be written anew: xorriso: {words}", hint="Is the downloaded ISO whole?")


def _trouble(error: OSError, folder: Path) -> Permanent | Temporary:
    if isinstance(error, FileNotFoundError) and error.filename in _PROGRAMS:
        message = f"the ISO cannot be written anew: there is no program {error.filename} here"
        return Permanent(
            message, hint="Install xorriso and mtools (make setup), or use the step image, which has them."
        )
    if error.errno == 28:
        hint = "The volume for the prepared ISO is too small, or the host's disk is full."
        return Permanent(f"the ISO could not be written anew: no space left in {folder.name}", hint=hint)
    return Temporary(f"the ISO could not be written anew: {error}")


def _check(order: Order, changes: Mapping[str, bytes]) -> None:
    """What xorriso made, read with our own eyes: the same ways to boot, and every changed file as it ought to be."""
    with open_local(order.target) as media:
        volume, tree = open_tree(media)
        wrong = [path for path, content in changes.items() if tree.read(path, len(content) + 1) != content]
        lost = sorted(set(order.volume.firmware) - set(volume.firmware))
    if wrong or lost or volume.id != order.volume.id:
        what = ", ".join([*wrong, *(f"the boot record for {name}" for name in lost)]) or "its label"
        message = f"the ISO was written anew, but {what} did not come through"
        raise Permanent(message, hint="Report this with the name of the ISO: xorriso treats its layout as no other.")


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o444)
    return path


def _put_in_place(made: Path, place: Path) -> None:
    """On stable storage first: a name that is there means a medium that is whole."""
    made.chmod(0o644)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
