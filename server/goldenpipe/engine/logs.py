"""Logs of steps, kept by the service: read while the Pod runs, so that they outlive it.

One file per attempt, `<build>/<step>/<when>-<pod>.log`, with the ending `.part` until it is complete. After a restart
the log is read again from its beginning and what is there already is skipped.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from goldenpipe.changes import Changes
from goldenpipe.cluster.labels import BUILD, STEP, label
from goldenpipe.model.outcome import step_container
from goldenpipe_kube import Kube, KubeError, NotFound

Object = dict[str, Any]
log = logging.getLogger(__name__)

LARGEST_LOG = 32 * 1024 * 1024
"""Bytes kept of one attempt; a step that writes more is noise after that."""
_CUT = b"\n[goldenpipe] the log is longer than 32 MiB; the rest was not kept\n"
_PROGRESS = re.compile(rb"^\[\s*(\d{1,3})%\] (.*)$")
_FIRST_PAUSE = 0.3
_LONGEST_PAUSE = 30.0
"""Seconds before a broken log stream is opened again; doubled each time: a node may be away for hours."""
_STATUS_SECONDS = 2.0
"""How long after its log has ended a container's status may say so; later than that, the stream has broken."""

Progress = Callable[[str, str, int, str], None]
"""Called with build, step, percent, message."""


class Logs:
    """Collects logs and serves them."""

    def __init__(self, folder: Path, kube: Kube, on_progress: Progress) -> None:
        self._folder, self._kube, self._on_progress = folder, kube, on_progress
        self._tasks: dict[Path, asyncio.Task[None]] = {}
        self._ended: dict[Path, asyncio.Event] = {}
        """Set when the container was seen to have ended; for the logs that are being read."""
        self.changes = Changes()
        """Rings when any log has grown or is complete."""

    def see(self, pod: Object) -> None:
        """A Pod was seen: start to collect its log unless that is done or under way."""
        build, step = label(pod, BUILD), label(pod, STEP)
        state = step_container(pod).get("state", {})
        if not build or not step or not ({"running", "terminated"} & state.keys()):
            return
        when = re.sub(r"\W", "", pod["metadata"]["creationTimestamp"])
        path = self._folder / build / step / f"{when}-{pod['metadata']['name']}.log"
        if path not in self._tasks:
            if path.exists():
                return
            self._ended[path] = asyncio.Event()
            self._tasks[path] = asyncio.create_task(self._collect(pod, path), name=f"log {path.name}")
        if "terminated" in state:
            self._ended[path].set()

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def settle(self, build: str, seconds: float) -> None:
        """Wait until all of the build's logs that are being read are complete, but no longer than this."""
        tasks = [task for path, task in self._tasks.items() if path.parts[-3] == build]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def remove(self, build: str) -> None:
        """Forget all logs of a build."""
        tasks = [task for path, task in self._tasks.items() if path.parts[-3] == build]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._folder / build, ignore_errors=True)

    async def read(
        self, build: str, step: str, *, follow: Callable[[], AsyncIterator[bool]] | None
    ) -> AsyncIterator[bytes]:
        """The step's log, attempt after attempt.

        With `follow`, an iterator that yields whenever something may have changed, and false when the step has ended,
        the log is followed until then.
        """
        position: dict[str, int] = {}
        if follow is None:
            for chunk in self._news(build, step, position):
                yield chunk
            return
        async for running in follow():
            for chunk in self._news(build, step, position):
                yield chunk
            if not running and not self._collecting(build, step):
                return

    def _collecting(self, build: str, step: str) -> bool:
        return any(path.parts[-3:-1] == (build, step) for path in self._tasks)

    def _news(self, build: str, step: str, position: dict[str, int]) -> list[bytes]:
        chunks = []
        for path in sorted((self._folder / build / step).glob("*.log*"), key=lambda path: path.name):
            key = path.name.removesuffix(".part")
            with path.open("rb") as file:
                file.seek(position.get(key, 0))
                chunk = file.read()
            position[key] = position.get(key, 0) + len(chunk)
            if chunk:
                chunks.append(chunk)
        return chunks

    async def _collect(self, pod: Object, path: Path) -> None:
        part = path.with_name(path.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pause = _FIRST_PAUSE
        try:
            while not await self._collect_once(pod, part, self._ended[path]):
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            part.rename(path)
        finally:
            del self._tasks[path], self._ended[path]
            self.changes.ring()

    async def _collect_once(self, pod: Object, part: Path, ended: asyncio.Event) -> bool:
        """Whether the log is complete."""
        name = pod["metadata"]["name"]
        build, step = part.parts[-3:-1]
        reader = _ProgressReader(partial(self._on_progress, build, step))
        try:
            with part.open("ab") as file:
                skip = file.tell()
                async for chunk in self._kube.logs(name, container="step", follow=True):
                    fresh, skip = chunk[skip:], max(0, skip - len(chunk))
                    if fresh and file.tell() < LARGEST_LOG:
                        room = LARGEST_LOG - file.tell()
                        file.write(fresh if len(fresh) <= room else fresh[:room] + _CUT)
                        file.flush()
                    reader.feed(fresh)
                    self.changes.ring()
            async with asyncio.timeout(_STATUS_SECONDS):
                await ended.wait()
        except NotFound:
            return True
        except TimeoutError:
            return False
        except KubeError as error:
            log.debug("log of pod %s: %s", name, error)
            return False
        return True


class _ProgressReader:
    """Finds progress lines in chunks that end anywhere."""

    def __init__(self, on_progress: Callable[[int, str], None]) -> None:
        self._on_progress = on_progress
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[-4096:]
        for line in lines:
            if match := _PROGRESS.match(line.rstrip()):
                self._on_progress(min(100, int(match[1])), match[2].decode(errors="replace")[:200])
