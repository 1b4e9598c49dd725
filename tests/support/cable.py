"""The connection to a Kubernetes API, which a test can cut: nothing comes through any more, and nobody is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Cable:
    """Passes bytes on while it is whole."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, kubeconfig: Path, new: Path) -> AsyncIterator[Cable]:
        """A cable to the server of this kubeconfig, and another kubeconfig that leads through it."""
        document = yaml.safe_load(kubeconfig.read_text())
        server = urlsplit(document["clusters"][0]["cluster"]["server"])
        assert server.hostname
        assert server.port
        cable = cls(server.hostname, server.port)
        listening = await asyncio.start_server(cable._connected, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        new.write_text(yaml.safe_dump(document))
        try:
            yield cable
        finally:
            listening.close()
            cable.mend()
            for writer in cable._writers:
                writer.transport.abort()
            await asyncio.gather(*cable._tasks, return_exceptions=True)

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with self._open(writer), contextlib.suppress(OSError):
            await self._whole.wait()
            other_reader, other_writer = await asyncio.open_connection(self._host, self._port)
            with self._open(other_writer):
                await asyncio.gather(self._pass_on(reader, other_writer), self._pass_on(other_reader, writer))
        self._tasks.discard(task)

    @contextmanager
    def _open(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                await self._whole.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()
