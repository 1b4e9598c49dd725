"""Runs a step program as Kubernetes would: a process with mounted files, environment, log and termination message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """A step that runs, or has run."""

    process: asyncio.subprocess.Process
    termination_log: Path
    lines: list[str] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _reader: asyncio.Task[None] | None = None

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def message(self) -> str:
        """The first line of the termination message: what happened."""
        return self.termination_log.read_text().partition("\n")[0]

    @property
    def extra(self) -> dict[str, Any]:
        """The second line: hint and facts."""
        rest = self.termination_log.read_text().partition("\n")[2]
        return json.loads(rest) if rest else {}

    @property
    def facts(self) -> dict[str, Any]:
        return self.extra.get("facts", {})

    async def ended(self, seconds: float = 60) -> int:
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            assert self._reader is not None
            await self._reader
        return code

    async def line(self, part: str, seconds: float = 30) -> str:
        """Wait for a log line that contains this."""
        assert self._reader is not None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for line in self.lines:
                        if part in line:
                            return line
                    assert not self._reader.done(), self.log
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"no line has {part!r} in:\n{self.log}") from None  # a test's words

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def read(self) -> None:
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                self.lines.append(line.decode().rstrip("\n"))
                self._more.set()
        finally:
            self._more.set()

    def follow(self) -> None:
        self._reader = asyncio.create_task(self.read())


@dataclass
class Runner:
    """Starts steps; whatever still runs at the end of a test is killed."""

    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    async def start(self, name: str, document: dict[str, Any], **environ: str) -> Run:
        here = self.folder / f"{name}-{len(self.runs)}"
        here.mkdir(parents=True)
        (here / "input.json").write_text(json.dumps({"step": name, "image": "web", "build": "web-3fa9c", **document}))
        (here / "termination-log").touch()
        places = {
            "GOLDENPIPE_INPUT": str(here / "input.json"),
            "GOLDENPIPE_TERMINATION_LOG": str(here / "termination-log"),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "goldenpipe_steps", name),
            env={**os.environ, **self.environ, **places, **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        run = Run(process, here / "termination-log")
        run.follow()
        self.runs.append(run)
        return run

    async def run(self, name: str, document: dict[str, Any], *, seconds: float = 60, **environ: str) -> Run:
        run = await self.start(name, document, **environ)
        await run.ended(seconds)
        return run

    async def close(self) -> None:
        for run in self.runs:
            if run.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    run.process.kill()
            await run.ended()


@contextlib.asynccontextmanager
async def runner(folder: Path, **environ: str) -> AsyncIterator[Runner]:
    one = Runner(folder, environ)
    try:
        yield one
    finally:
        await one.close()


RunInGuest = Callable[..., Coroutine[Any, Any, Run]]
"""Runs the step of this name with these params in the test's guest."""
