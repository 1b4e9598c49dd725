"""The service as a process of its own that kills itself right after a chosen write to its store or the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import sqlite_utils

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe.store.writer import Writer
from goldenpipe_kube import Kube

Result = TypeVar("Result")
_START_SECONDS = 60.0
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
# its children are forks of a process that has imported everything, so a start takes a tenth of a second
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["goldenpipe.service", "goldenpipe_kube"])


@dataclass(frozen=True, kw_only=True)
class Mortal:
    """A service that runs until it is told to stop, or dies by its own hand."""

    address: str
    _process: BaseProcess
    _pipe: Connection
    _words: Path

    def die_after(self, write: int) -> None:
        """Kill itself right after this write from now; the next one is number 0."""
        self._pipe.send(write)

    def is_dead(self) -> bool:
        return not self._process.is_alive()

    async def death(self) -> None:
        await asyncio.to_thread(self._process.join)
        assert self._process.exitcode == -signal.SIGKILL

    @property
    def last_write(self) -> str:
        """What it wrote last before it died: a method of the store, or a verb and a kind."""
        return self._words.read_text()


@asynccontextmanager
async def mortal(settings: Settings, kubeconfig: Path) -> AsyncIterator[Mortal]:
    ours, theirs = _processes.Pipe()
    words = settings.data_dir / "last-write"
    words.unlink(missing_ok=True)
    process = _processes.Process(target=_run, args=(settings, kubeconfig, theirs, words))
    process.start()
    theirs.close()
    try:
        assert await asyncio.to_thread(ours.poll, _START_SECONDS), "the service does not start"
        yield Mortal(address=ours.recv(), _process=process, _pipe=ours, _words=words)
    finally:
        process.terminate()
        await asyncio.to_thread(process.join)
        process.close()
        ours.close()


def _run(settings: Settings, kubeconfig: Path, pipe: Connection, words: Path) -> None:
    asyncio.run(_serve(settings, kubeconfig, pipe, _Fate(words)))


async def _serve(settings: Settings, kubeconfig: Path, pipe: Connection, fate: _Fate) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    with _mortal_store(fate), _mortal_client(fate):
        async with running(settings, kubeconfig=kubeconfig) as service:
            loop.add_reader(pipe.fileno(), lambda: _obey(loop, pipe, fate))
            pipe.send(service.address)
            await stop.wait()


def _obey(loop: asyncio.AbstractEventLoop, pipe: Connection, fate: _Fate) -> None:
    try:
        fate.left = pipe.recv()
    except EOFError:
        loop.remove_reader(pipe.fileno())


class _Fate:
    """Counts writes, in whatever thread they are made."""

    def __init__(self, words: Path) -> None:
        self.left: int | None = None
        self._words = words
        self._lock = threading.Lock()

    def wrote(self, what: str) -> None:
        if what in ("note_progress", "PUT leases"):
            return  # come in their own time, which would move the numbers of the others
        with self._lock:
            if self.left is None:
                return
            if self.left == 0:
                self._words.write_text(what)
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1


@contextlib.contextmanager
def _mortal_store(fate: _Fate) -> Any:
    run = Writer.run

    async def mortal_run(self: Writer, work: Callable[[sqlite_utils.Database], Result], **more: Any) -> Result:
        changed = False

        def watched(database: sqlite_utils.Database) -> Result:
            nonlocal changed
            before = database.conn.total_changes
            result = work(database)
            changed = database.conn.total_changes != before
            return result

        what = _method()
        result = await run(self, watched, **more)
        if changed:
            fate.wrote(what)
        return result

    Writer.run = mortal_run  # type: ignore[method-assign]
    yield
    Writer.run = run  # type: ignore[method-assign]


def _method() -> str:
    """The name of the store's method that is being called."""
    frame, names = inspect.currentframe(), list[str]()
    while frame is not None:
        if Path(frame.f_code.co_filename).name == "store.py":
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names[-1]


@contextlib.contextmanager
def _mortal_client(fate: _Fate) -> Any:
    call = Kube._json

    async def mortal_call(self: Kube, method: str, path: str, **arguments: Any) -> Any:
        answer = await call(self, method, path, **arguments)
        if method in _WRITES:
            parts = path.partition("/namespaces/")[2].split("/")
            fate.wrote(f"{method} {parts[1] if len(parts) > 1 else path}")
        return answer

    Kube._json = mortal_call  # type: ignore[method-assign]
    yield
    Kube._json = call  # type: ignore[method-assign]
