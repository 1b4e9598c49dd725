"""What happens when a base disk cannot be made, or is no longer wanted half way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from goldenpipe_local.base_image import BaseImageError, build, install_command, missing_tools, tools
from goldenpipe_local.base_image.process import run

needs_tools = pytest.mark.skipif(bool(missing_tools()), reason="tools for the base disk are not installed")


def test_a_machine_without_the_tools_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "SEARCH_PATH", str(tmp_path))
    missing = missing_tools()
    assert {"mmdebstrap", "mtools", "qemu-utils"} <= {tool.package for tool in missing}
    assert all(tool.why for tool in missing)
    assert "mmdebstrap" in install_command(missing)


@needs_tools
async def test_a_disk_too_small_for_a_debian_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(BaseImageError, match="at least 1536 MiB"):
        await build("debian-12", tmp_path / "disk.qcow2", size=1024**3, say=print)
    assert list(tmp_path.iterdir()) == []


@needs_tools
async def test_a_cancelled_build_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    under_way = asyncio.Event()

    def say(line: str) -> None:
        if "Unpacking" in line:
            under_way.set()

    building = asyncio.create_task(build("debian-12", tmp_path / "disk.qcow2", say=say))
    waiting = asyncio.create_task(under_way.wait())
    await asyncio.wait({building, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=120)
    assert under_way.is_set(), building
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert list(tmp_path.iterdir()) == []
    assert processes_naming(tmp_path) == []


@needs_tools
async def test_what_a_killed_build_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".disk.qcow2.part" / "root"
    left.mkdir(parents=True)
    (left / "half a system").touch()
    building = asyncio.create_task(build("debian-12", tmp_path / "disk.qcow2", say=lambda _: building.cancel()))
    with pytest.raises(asyncio.CancelledError):
        await building
    assert list(tmp_path.iterdir()) == []


@needs_tools
async def test_a_second_build_in_the_same_folder_waits_and_can_be_cancelled(tmp_path: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        *("flock", "--no-fork", tmp_path, "sh", "-c", "echo held; exec sleep 60"), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    said: list[str] = []
    waits = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        waits.set()

    building = asyncio.create_task(build("debian-12", tmp_path / "disk.qcow2", say=say))
    await asyncio.wait_for(waits.wait(), 30)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert said == ["[  0%] Waiting for another base disk that is being made in this folder"]
    holder.kill()
    await holder.communicate()


async def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(BaseImageError, match=r"sh failed with status 3:\nno space left"):
        await run("sh", "-c", "echo no space left >&2; exit 3")


def processes_naming(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command:
                found.append(command.decode())
    return found
