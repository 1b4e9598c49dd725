"""The API server: one aiohttp application on a loopback port, with TLS."""

from __future__ import annotations

import logging
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from goldenpipe_local.api.access import DEFAULT_NAMESPACE, STEP_ACCOUNT, STEP_ACCOUNTS, Access
from goldenpipe_local.api.certificates import Certificates
from goldenpipe_local.api.collector import collector
from goldenpipe_local.api.database import Database
from goldenpipe_local.api.errors import ApiError
from goldenpipe_local.api.expiry import event_expiry
from goldenpipe_local.api.files import write_private
from goldenpipe_local.api.front import Front
from goldenpipe_local.api.logs import Logs
from goldenpipe_local.api.reading import BOOKMARK_SECONDS, Reading
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.resources import BY_KEY
from goldenpipe_local.api.scheduler import scheduler
from goldenpipe_local.api.screenshots import Screenshots
from goldenpipe_local.api.store import HISTORY, Store

log = logging.getLogger(__name__)

_LARGEST_BODY = 3 * 1024 * 1024
_NAMESPACES = ("default", "kube-system", DEFAULT_NAMESPACE)
_SHUTDOWN_SECONDS = 1.0


class ApiServer:
    """Serves the objects of one data folder while its context is open.

    The port is remembered: a server on the same folder comes back at the same address if it can.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        history: int = HISTORY,
        bookmark_seconds: float = BOOKMARK_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._history = history
        self._bookmark_seconds = bookmark_seconds
        self._stack = AsyncExitStack()

    @property
    def address(self) -> str:
        return f"https://{self._host}:{self._port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; its context has the namespace goldenpipe-system."""
        return self._data_dir / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of another user: node, jobs, or a service account of steps."""
        return self.kubeconfig if user == "admin" else self._data_dir / f"kubeconfig-{user}"

    def kubeconfig_of_account(self, account: str) -> Path:
        """Of a service account; those that are not made here have the rights of steps without one of their own."""
        known = {user.name for user in STEP_ACCOUNTS}
        return self.kubeconfig_of(account if account in known else STEP_ACCOUNT)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        access = Access.load(self._data_dir / "tokens.yaml")
        database = Database.open(self._data_dir / "objects.sqlite")
        stack.push_async_callback(database.close)
        registry = Registry(Store(database, history=self._history))
        _make_namespaces(registry)
        await stack.enter_async_context(collector(registry))
        await stack.enter_async_context(scheduler(registry))
        await stack.enter_async_context(event_expiry(registry))
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        reading = Reading(registry, bookmark_seconds=self._bookmark_seconds)
        front = Front(
            registry=registry,
            access=access,
            reading=reading,
            logs=Logs(registry, session),
            screenshots=Screenshots(registry, session),
        )
        certificates = Certificates.ensure(self._data_dir, self._host)
        await self._listen(stack, front, certificates.context())
        stack.callback(front.close)
        self._write_kubeconfigs(access, certificates.authority.absolute())

    async def _listen(self, stack: AsyncExitStack, front: Front, context: ssl.SSLContext) -> None:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", front.serve)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        wanted = self._port or self._remembered_port()
        try:
            await self._bind(runner, wanted, context)
        except OSError as error:
            if self._port or not wanted:
                raise
            log.warning("port %d of the last start cannot be had (%s): taking another", wanted, error)
            await self._bind(runner, 0, context)

    async def _bind(self, runner: web.AppRunner, port: int, context: ssl.SSLContext) -> None:
        await web.TCPSite(runner, self._host, port, ssl_context=context).start()
        self._port = int(runner.addresses[0][1])
        write_private(self._data_dir / "port", f"{self._port}\n")

    def _remembered_port(self) -> int:
        with suppress(OSError, ValueError):
            return int((self._data_dir / "port").read_text())
        return 0

    def _write_kubeconfigs(self, access: Access, authority: Path) -> None:
        for user in access.users:
            write_private(self.kubeconfig_of(user), access.kubeconfig(user, address=self.address, authority=authority))


def _make_namespaces(registry: Registry) -> None:
    for name in _NAMESPACES:
        with suppress(ApiError):
            registry.create(BY_KEY["namespaces"], "", {"metadata": {"name": name}})
