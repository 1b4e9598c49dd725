"""QMP: asking QEMU about a machine's state, and waiting for it to change."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, QMPClient, QMPError

__all__ = ["Monitor", "MonitorLost", "QMPError", "connected", "listen"]

SOCKET = "qmp.sock"
_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\b")
_STATE_EVENTS = ("SHUTDOWN", "STOP", "GUEST_PANICKED")


class MonitorLost(Exception):
    """QEMU does not answer any more: it has ended, or is about to."""


def listen(folder: Path) -> socket.socket:
    """The socket that QEMU is to answer on, listening already."""
    (folder / SOCKET).unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    with _short_path(folder) as path:
        sock.bind(path)
    sock.listen(1)
    return sock


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[Monitor]:
    """A connection to the QEMU of this folder; raises `MonitorLost` if it breaks."""
    client = QMPClient("machine")
    client.logger.disabled = True  # a QEMU that ends is no news here, and its exit says more
    events = EventListener(_STATE_EVENTS)
    client.register_listener(events)
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        with _short_path(folder) as path:
            await asyncio.get_running_loop().sock_connect(sock, path)
        await client.connect(sock)
        yield Monitor(client, events)
    except (QMPError, OSError, EOFError, asyncio.IncompleteReadError) as error:
        raise MonitorLost(str(error)) from error
    finally:
        # to its end even if we are cancelled: a client that is left half closed complains later
        await asyncio.shield(asyncio.ensure_future(_disconnect(client, sock)))


class Monitor:
    """A QMP session."""

    def __init__(self, client: QMPClient, events: EventListener) -> None:
        self._client = client
        self._events = events

    async def state(self) -> str:
        """QEMU's run state: running, shutdown, internal-error, io-error, ..."""
        answer: Any = await self._client.execute("query-status")
        return str(answer["status"])

    async def next_state(self) -> str:
        """Wait until the state may have changed, and return it."""
        event = asyncio.create_task(self._events.get())
        closed = asyncio.create_task(_until_closed(self._client))
        try:
            await asyncio.wait([event, closed], return_when=asyncio.FIRST_COMPLETED)
            if not event.done():
                message = "the QMP connection was closed"
                raise MonitorLost(message)
        finally:
            event.cancel()
            closed.cancel()
            await asyncio.wait([event, closed])
        return await self.state()

    async def ssh_port(self) -> int | None:
        """The host's port that leads to the guest's 22."""
        command = {"command-line": "info usernet"}
        text = str(await self._client.execute("human-monitor-command", command))
        match = _FORWARD.search(text)
        return int(match[1]) if match else None

    async def press_power_button(self) -> None:
        await self._client.execute("system_powerdown")

    async def screenshot(self, name: str) -> None:
        """Write what the machine shows as a PNG file of its folder."""
        await self._client.execute("screendump", {"filename": name, "format": "png"})

    async def quit(self) -> None:
        await self._client.execute("quit")


async def _disconnect(client: QMPClient, sock: socket.socket) -> None:
    with closing(sock), suppress(Exception):
        await client.disconnect()


async def _until_closed(client: QMPClient) -> None:
    while client.runstate.name == "RUNNING":
        await client.runstate_changed()


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """The socket's path by way of /proc: a UNIX socket's address has room for 107 bytes, a folder's path has not."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
