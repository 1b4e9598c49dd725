"""A connection to a guest that heals, and knows whether the guest is still the same boot."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import asyncssh

from goldenpipe_steps.kit.log import Log
from goldenpipe_steps.kit.ssh import GuestLost, Login, connect

RETRIES = 3


class Looked(Protocol):
    """What a look at any guest tells."""

    @property
    def boot(self) -> str:
        """Another one after every boot."""

    @property
    def done(self) -> frozenset[str]:
        """Keys of what earlier attempts have finished."""


F = TypeVar("F", bound=Looked)
Look = Callable[[asyncssh.SSHClientConnection], Awaitable[F]]


class Session(Generic[F]):
    """A login that is made anew whenever it is lost; what it is for is asked by way of its `_connection`."""

    facts: F
    _connection: asyncssh.SSHClientConnection

    def __init__(self, login: Login, log: Log, look: Look[F]) -> None:
        self._login, self._look = login, look
        self.log = log

    async def enter(self, limit_seconds: float) -> None:
        """Log in and look around."""
        retries = RETRIES
        while True:
            connection = await connect(self._login, limit_seconds)
            try:
                self._connection, self.facts = connection, await self._look(connection)
                return
            except BaseException as error:
                connection.abort()
                if not isinstance(error, GuestLost) or not retries:
                    raise
                retries -= 1

    def is_done(self, key: str) -> bool:
        return key in self.facts.done

    async def reconnect(self, limit_seconds: float = 120.0) -> None:
        """Make the connection anew; afterwards `facts.boot` tells whether the guest is still the same boot."""
        self.log.say("The SSH connection to the guest was lost; connecting again.")
        self.close()
        before = self.facts.boot
        await self.enter(limit_seconds)
        rebooted = self.facts.boot != before
        self.log.say("The guest has rebooted and is back." if rebooted else "Connected again.")

    async def wait_for_reboot(self, limit_seconds: float, before: str = "") -> None:
        """Return once the guest, on its way down since this boot, is up again."""
        before = before or self.facts.boot
        while self.facts.boot == before:
            with contextlib.suppress(OSError, asyncssh.Error):
                await self._connection.wait_closed()
            await self.reconnect(limit_seconds)

    def close(self) -> None:
        self._connection.abort()
