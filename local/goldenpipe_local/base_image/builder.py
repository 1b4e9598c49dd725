"""From packages to a bootable disk: install into a folder, write it as a file system into a file, make that a qcow2."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shlex
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from goldenpipe_local.base_image.disk import Work, write_disk
from goldenpipe_local.base_image.errors import BaseImageError
from goldenpipe_local.base_image.layout import plan_layout
from goldenpipe_local.base_image.mirror import deb822, find_options, find_sources
from goldenpipe_local.base_image.process import run
from goldenpipe_local.base_image.progress import Progress
from goldenpipe_local.base_image.recipe import Distribution, Recipe, finish_script, overlay, recipe_for
from goldenpipe_local.base_image.tools import install_command, missing_tools

DEFAULT_SIZE = 2 * 1024**3
SMALLEST_SIZE = 1536 * 1024**2

Say = Callable[[str], None]


async def build(distribution: Distribution, out: Path, *, size: int = DEFAULT_SIZE, say: Say) -> None:
    """Makes `out`, a qcow2 disk of `size` bytes; `say` gets progress lines like `[ 42%] Installing packages`.

    Raises BaseImageError; whatever happens, `out` is the whole disk or untouched.
    """
    _check(size)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    async with _sole_builder(out.parent, say) as lock:
        await _build(recipe_for(distribution), out, size=size, say=say, lock=lock)


async def cached(distribution: Distribution, cache: Path, *, say: Say) -> Path:
    """The default disk of a distribution in a cache folder, made only when it is not there yet."""
    disk = cache.absolute() / f"{distribution}-{recipe_for(distribution).fingerprint}.qcow2"
    if disk.exists():
        return disk
    _check(DEFAULT_SIZE)
    disk.parent.mkdir(parents=True, exist_ok=True)
    async with _sole_builder(disk.parent, say) as lock:
        if not disk.exists():
            await _build(recipe_for(distribution), disk, size=DEFAULT_SIZE, say=say, lock=lock)
    return disk


async def _build(recipe: Recipe, out: Path, *, size: int, say: Say, lock: int) -> None:
    work = Work.beside(out, lock=lock, layout=plan_layout(recipe.name, size))
    await work.clear()
    try:
        work.folder.mkdir()
        await _install(work, recipe, Progress(say))
        say("[ 86%] Writing the disk")
        await write_disk(work)
        say("[ 95%] Converting the disk to qcow2")
        finished = work.folder / "disk.qcow2"
        await run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", work.raw, finished)
        finished.replace(out)
    finally:
        await asyncio.shield(work.clear())
    say(f"[100%] {out.name} is ready")


def _check(size: int) -> None:
    if platform.machine() != "x86_64":
        message = f"base disks are made for x86_64 on x86_64; this machine is {platform.machine()}"
        raise BaseImageError(message)
    if size < SMALLEST_SIZE:
        message = f"a base disk needs at least {SMALLEST_SIZE // 1024**2} MiB; {size // 1024**2} MiB were asked for"
        raise BaseImageError(message)
    if missing := missing_tools():
        reasons = "; ".join(f"{tool.package} ({tool.why})" for tool in missing)
        message = f"not installed here: {reasons}. Install with: {install_command(missing)}"
        raise BaseImageError(message)


@contextlib.asynccontextmanager
async def _sole_builder(folder: Path, say: Say) -> AsyncIterator[int]:
    """Holds the folder's lock. The programs inherit it, so that those of a killed build end before the next begins."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not await _locked(lock, "--nonblock"):
            say("[  0%] Waiting for another base disk that is being made in this folder")
            await _locked(lock)
        yield lock
    finally:
        os.close(lock)


async def _locked(lock: int, *options: str) -> bool:
    """Takes the lock of an open file: flock(1) waits in a process of its own, which can be cancelled."""
    try:
        await run("flock", *options, str(lock), pass_fds=[lock])
    except BaseImageError:
        return False
    return True


async def _install(work: Work, recipe: Recipe, progress: Progress) -> None:
    sources = work.folder / "debian.sources"
    sources.write_text(deb822(await find_sources(recipe.codename)))
    extra = work.folder / "overlay.tar"
    extra.write_bytes(overlay(work.layout))
    apt_options = [f"--aptopt={option}" for option in await find_options()]
    command = [
        "mmdebstrap",
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        "--variant=minbase",
        "--format=directory",
        "--verbose",
        f"--include={','.join(recipe.packages)}",
        "--dpkgopt=force-unsafe-io",
        *apt_options,
        f"--customize-hook=tar-in {shlex.quote(str(extra))} /",
        f'--customize-hook=chroot "$1" /bin/sh -c {shlex.quote(finish_script())}',
        recipe.codename,
        str(work.root),
        str(sources),
    ]
    # INITRD=No keeps the kernel package from making the initramfs that finish.sh makes once everything is there
    await run(*command, environment={"INITRD": "No"}, pass_fds=[work.lock], each_line=progress.read)
