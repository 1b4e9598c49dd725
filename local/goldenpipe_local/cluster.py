"""The local cluster: API server, Job controller and node agent, put together over one data folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from goldenpipe_local.jobs import JobController
from goldenpipe_local.node import NodeAgent


class ClusterBusyError(RuntimeError):
    """Another process runs a local cluster on this data folder."""


class LocalCluster:
    """What stands in for Kubernetes, KubeVirt and CDI on one machine, while its context is open.

    Pods and machines that still run at the end go on; the next start finds them again.
    """

    def __init__(self, data_dir: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._folder = data_dir / "cluster"
        self._data_dir = data_dir
        self._api = ApiServer(self._folder, host=host, port=port)
        self._stack = AsyncExitStack()

    @property
    def address(self) -> str:
        return self._api.address

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its context has the namespace goldenpipe-system."""
        return self._api.kubeconfig

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(_locked(self._folder))
            api = await stack.enter_async_context(self._api)
            jobs = await stack.enter_async_context(await Kube.connect(api.kubeconfig_of("jobs")))
            await stack.enter_async_context(JobController(jobs))
            node = await stack.enter_async_context(await Kube.connect(api.kubeconfig_of("node")))
            await stack.enter_async_context(NodeAgent(node, self._data_dir, step_kubeconfig=api.kubeconfig_of_account))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "lock"
    # opened without truncation: it may hold the other process's number
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            holder = file.read().strip() or "an unknown process"
            message = (
                f"process {holder} already runs a local cluster on {folder}: "
                f"use that one, stop it (kill {holder}), or choose another --data-dir"
            )
            raise ClusterBusyError(message) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
