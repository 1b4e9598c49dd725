"""A cluster for one test on a control plane: a namespace with the installation, the node agent, and a scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from goldenpipe_kube import Kube
from goldenpipe_local.node import NodeAgent
from support.controlplane.installation import SERVICE, install, step_accounts, token_kubeconfig
from support.controlplane.plane import ControlPlane
from support.controlplane.scheduler import schedule
from support.controlplane.virt_api import virt_api
from support.watching import until

_NODE = "local"
_GOODBYE_SECONDS = 0.2


class Node:
    """The node agent, which a test may stop and start; what it runs goes on meanwhile."""

    def __init__(self, start: Callable[[], NodeAgent]) -> None:
        self._start = start
        self._agent: NodeAgent | None = None

    async def start(self) -> None:
        agent = self._start()
        await agent.__aenter__()
        self._agent = agent

    async def stop(self) -> None:
        agent, self._agent = self._agent, None
        if agent:
            await agent.__aexit__(None, None, None)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a test needs to know of it."""

    kubeconfig: Path
    """The service's: on a real control plane by the token of its own service account."""
    admin: Path
    """May everything: for the test's own looking, and for what stands in for other parts of a cluster."""
    node: Node | None = None
    """Where it is not a part of the whole local cluster."""


@asynccontextmanager
async def cluster_on(plane: ControlPlane, data_dir: Path) -> AsyncIterator[Cluster]:
    """Pods of its namespace run as processes of this machine while the context is open."""
    namespace = f"goldenpipe-{uuid4().hex[:8]}"
    data_dir.mkdir(parents=True, exist_ok=True)
    admin = plane.admin_kubeconfig(data_dir / "kubeconfig-admin", namespace)
    await asyncio.to_thread(install, plane, namespace)
    service = token_kubeconfig(plane, data_dir / "kubeconfig", namespace, SERVICE)
    steps = {
        account: token_kubeconfig(plane, data_dir / f"kubeconfig-{account}", namespace, account)
        for account in step_accounts()
    }
    async with await Kube.connect(admin) as kube:
        # a Pod without a service account is refused, and the Job controller would wait before it tries again
        await until(kube, "ServiceAccount", lambda _: True, name="default")
        node = Node(lambda: NodeAgent(kube, data_dir, step_kubeconfig=steps.get, node_name=_NODE))
        async with virt_api(plane, kube):
            await node.start()
            scheduler = asyncio.create_task(schedule(admin, _NODE))
            try:
                yield Cluster(kubeconfig=service, admin=admin, node=node)
            finally:
                ended = scheduler.done()
                scheduler.cancel()
                await asyncio.gather(scheduler, return_exceptions=not ended)
                plane.must("DELETE", f"/api/v1/namespaces/{namespace}")
                await node.stop()
        # servers tell nobody when TLS has said goodbye on connections that they closed; the API server needs a moment
        await asyncio.sleep(_GOODBYE_SECONDS)
