"""Runs this machine's programs: cancelling ends the whole process group and waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from goldenpipe_local.base_image.errors import BaseImageError
from goldenpipe_local.base_image.tools import SEARCH_PATH

_TAIL = 25
"""How many of its last lines an error shows of a program that failed."""


async def run(
    *command: str | Path,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    each_line: Callable[[str], None] | None = None,
) -> None:
    """Runs a program to its end; its last lines are the error's text when it fails."""
    tail: deque[str] = deque(maxlen=_TAIL)
    async with _started(command, environment=environment, pass_fds=pass_fds) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((stdin or "").encode())
        process.stdin.close()
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            tail.append(line)
            if each_line:
                each_line(line)
        status = await process.wait()
    if status != 0:
        message = f"{Path(command[0]).name} failed with status {status}:\n" + "\n".join(tail)
        raise BaseImageError(message)


async def output_of(*command: str | Path) -> str:
    """What a program prints."""
    lines: list[str] = []
    await run(*command, each_line=lines.append)
    return "\n".join(lines)


@contextlib.asynccontextmanager
async def _started(
    command: Sequence[str | Path], *, environment: Mapping[str, str] | None, pass_fds: Sequence[int]
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", **(environment or {})},
        pass_fds=pass_fds,
        start_new_session=True,
        limit=1 << 20,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            await asyncio.shield(process.wait())
