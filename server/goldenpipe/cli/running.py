"""The composition root: the cluster this service works on, the service itself, and how both end."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import click

from goldenpipe.cli.errors import CliError
from goldenpipe.errors import PublicError
from goldenpipe.service import Service, running
from goldenpipe.settings import Settings

_CHATTY = ("aiohttp", "asyncssh", "qemu", "asyncio", "kubernetes")
_OWN_FIELDS = ("action", "image", "build", "step")


class _Lines(logging.Formatter):
    """A sentence a line, with the fields that make it searchable behind it."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        fields = [f"{key}={value}" for key in _OWN_FIELDS if (value := getattr(record, key, None))]
        return f"{line}  [{' '.join(fields)}]" if fields else line


def set_up_logging(*, debug: bool) -> None:
    """Log lines go to standard error; what is printed for the user goes to standard output."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


async def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        kubeconfig = await _cluster(stack, settings)
        service = await _start(stack, settings, kubeconfig)
        _announce(service, settings)
        # what is loaded by now stays: looking through it for garbage would stop everything for 50 ms each time
        gc.freeze()
        await stop.wait()
        click.echo("Stopping. Steps and VMs that run go on; the next start on this data folder finds them again.")


async def _start(stack: AsyncExitStack, settings: Settings, kubeconfig: Path | None) -> Service:
    try:
        return await stack.enter_async_context(running(settings, kubeconfig=kubeconfig))
    except PublicError as error:
        raise CliError(f"the service cannot start: {error}") from error
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        hint = "Stop what listens there, or choose another address with --listen HOST:PORT."
        reason = os.strerror(error.errno).lower()
        raise CliError(f"cannot listen on {settings.host}:{settings.port}: {reason}.", hint=hint) from error


async def _cluster(stack: AsyncExitStack, settings: Settings) -> Path | None:
    if not settings.local:
        return settings.kubeconfig
    from goldenpipe_local.cluster import LocalCluster

    cluster = await stack.enter_async_context(LocalCluster(settings.data_dir))
    return cluster.kubeconfig


def _announce(service: Service, settings: Settings) -> None:
    click.echo(f"GoldenPipe listens on {service.address}")
    if settings.local and service.kubeconfig:
        click.echo(f"Its local cluster: export KUBECONFIG={service.kubeconfig}")
    sys.stdout.flush()
