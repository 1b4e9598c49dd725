"""The SSH connection to the guest: the build's key, the pinned host key, and the patience a booting machine needs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from goldenpipe_steps.kit.errors import Permanent, Temporary
from goldenpipe_steps.kit.inputs import Address
from goldenpipe_steps.kit.log import duration

KEEPALIVE_SECONDS = 10
KEEPALIVE_MISSES = 4
"""A guest under emulation may be deaf for long; 40 seconds of silence are a lost connection."""
LONGEST_PAUSE = 0.5
ATTEMPT_EVERY = 2.0
ATTEMPT_SECONDS = 30.0
"""User-mode networking accepts a connection before the guest can answer it, and it may hang long after the guest is up;
so a new attempt starts beside the hanging ones, and the first greeting wins."""
FIRST_BOOT_SECONDS = 60.0
DENIED_SECONDS = 10.0
"""How long a refused login may be a moment's: a guest that boots or goes down lets nobody in."""
DENIED_PAUSE = 3.0
"""Seconds after a refused login: newer OpenSSH servers punish those who hurry."""


class GuestLost(Temporary):
    """The guest does not answer by SSH (any more)."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Everything that a connection needs.

    In a guest's first boot the SSH server may be up before cloud-init has placed the host key and the user.
    """

    address: Address
    key: asyncssh.SSHKey
    host_key: asyncssh.SSHKey
    first_boot: bool = False

    @property
    def where(self) -> str:
        return f"{self.address.host} port {self.address.port}"


def read_login(address: Address, folder: Path, *, first_boot: bool = False) -> Login:
    """Read the mounted Secret of the build's keys."""
    try:
        key = asyncssh.read_private_key(folder / "ssh-privatekey")
        host_key = asyncssh.import_public_key((folder / "host-public-key").read_text())
    except (OSError, asyncssh.KeyImportError) as error:
        message = f"the build's SSH keys in {folder} cannot be read: {error}"
        raise Permanent(message, hint="The template must mount the Secret of the build's SSH keys there.") from error
    return Login(address=address, key=key, host_key=host_key, first_boot=first_boot)


async def connect(login: Login, limit_seconds: float) -> asyncssh.SSHClientConnection:
    """Try until the guest lets us in; a wrong host key is final, a refused login after a while."""
    started = time.monotonic()
    reason = "no answer"
    pause = 0.1
    try:
        async with asyncio.timeout(limit_seconds):
            while True:
                waited = time.monotonic() - started
                try:
                    return await _log_in(login, await _first_greeting(login.address))
                except asyncssh.HostKeyNotVerifiable as error:
                    if not login.first_boot or waited > FIRST_BOOT_SECONDS:
                        raise _other_host_key(login) from error
                    reason = "another host key than the build's"
                    await asyncio.sleep(DENIED_PAUSE)
                except asyncssh.PermissionDenied as error:
                    if waited > (FIRST_BOOT_SECONDS if login.first_boot else DENIED_SECONDS):
                        raise _denied(login) from error
                    reason = "login refused"
                    await asyncio.sleep(DENIED_PAUSE)
                except (OSError, asyncssh.Error) as error:
                    reason = str(error) or type(error).__name__
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
    except TimeoutError:
        message = f"the guest at {login.where} did not answer by SSH within {duration(limit_seconds)} ({reason})"
        raise GuestLost(message) from None


async def _log_in(login: Login, sock: socket.socket) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        sock=sock,
        username=login.address.user,
        client_keys=[login.key],
        known_hosts=([login.host_key], [], []),
        config=None,
        agent_path=None,
        preferred_auth="publickey",
        compression_algs=["none"],
        keepalive_interval=KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVE_MISSES,
        login_timeout=ATTEMPT_SECONDS,
    )


async def _first_greeting(address: Address) -> socket.socket:
    """A connected socket on which the server has begun to speak; its greeting is still unread."""
    attempts: set[asyncio.Task[socket.socket]] = set()
    try:
        while True:
            attempts.add(asyncio.create_task(_greeting(address)))
            done, attempts = await asyncio.wait(attempts, timeout=ATTEMPT_EVERY, return_when=asyncio.FIRST_COMPLETED)
            winners = [task.result() for task in done if task.exception() is None]
            for late in winners[1:]:
                late.close()
            if winners:
                return winners[0]
            for task in done:
                task.result()
    finally:
        for task in attempts:
            task.cancel()
        for result in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(result, socket.socket):
                result.close()


async def _greeting(address: Address) -> socket.socket:
    async with asyncio.timeout(ATTEMPT_SECONDS), _socket(address) as sock:
        await _readable(sock)
        if not sock.recv(1, socket.MSG_PEEK):
            message = "the connection was closed before the SSH server spoke"
            raise ConnectionResetError(message)
        return sock.dup_nonblocking()


class _Socket(socket.socket):
    def dup_nonblocking(self) -> socket.socket:
        """The same connection as a plain socket that outlives this one."""
        copy = socket.socket(self.family, self.type, self.proto, fileno=self.detach())
        copy.setblocking(False)
        return copy


@contextlib.asynccontextmanager
async def _socket(address: Address) -> AsyncIterator[_Socket]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, place = found[0]
    with _Socket(family, kind, protocol) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, place)
        yield sock


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


def _other_host_key(login: Login) -> Permanent:
    message = f"the SSH server at {login.where} shows another host key than the one made for this build"
    hint = (
        "Another machine answers at this address, or something in the guest replaced its host keys; nothing was sent."
    )
    return Permanent(message, hint=hint)


def _denied(login: Login) -> Permanent:
    message = f"the guest at {login.where} does not let {login.address.user} in with the build's key"
    hint = "Does the base image run cloud-init, and did nothing in the guest remove the build's user or key?"
    return Permanent(message, hint=hint)
