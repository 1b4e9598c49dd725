"""The service as a process of its own, as users start it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from support.rest import Rest
from support.templates import Overlay


class Served:
    """`goldenpipe serve` on one data folder: with a local cluster of its own, or on that of a kubeconfig."""

    def __init__(self, data_dir: Path, overlay: Overlay, *options: str, kubeconfig: Path | None = None) -> None:
        cluster = ["--kubeconfig", str(kubeconfig)] if kubeconfig else ["--local"]
        self.arguments = ["serve", "--listen", "127.0.0.1:0", *cluster, "--data-dir", str(data_dir)]
        self.arguments += ["--templates", str(overlay.templates), *options]
        self.data_dir = data_dir
        self._log = data_dir.with_suffix(".log")

    @property
    def log(self) -> str:
        return self._log.read_text()

    @asynccontextmanager
    async def start(self) -> AsyncIterator[tuple[Rest, asyncio.subprocess.Process]]:
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "goldenpipe", *self.arguments, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        try:
            async with aiohttp.ClientSession() as session:
                async with asyncio.timeout(60):
                    address = await self._address(process)
                yield Rest(address, session), process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
            await process.communicate()

    async def _address(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        async for line in process.stdout:
            if found := re.search(rb"listens on (http://\S+)", line):
                return found[1].decode()
        raise AssertionError(self.log)


async def kill(process: asyncio.subprocess.Process) -> None:
    """The service alone; what it has started goes on. Once more does no harm."""
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    await process.wait()


async def role_of(rest: Rest) -> str:
    """By its metrics: for its health a service asks the cluster too, and waits for the answer."""
    return "leader" if "goldenpipe_leader 1.0" in await rest.text("/metrics") else "standby"


async def until_role(rest: Rest, role: str, *, seconds: float) -> float:
    """Ask until the service has this role; how many seconds that took."""
    begun = time.monotonic()
    async with asyncio.timeout(seconds):
        # REST tells nobody when the role changes
        while await role_of(rest) != role:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return time.monotonic() - begun
