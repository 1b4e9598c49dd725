"""A cluster for one test on a control plane: a namespace of its own, the node agent, and a scheduler for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from goldenpipe_kube import Kube, Object
from goldenpipe_local.api.access import USERS
from goldenpipe_local.node import NodeAgent
from support.controlplane.plane import ControlPlane
from support.controlplane.scheduler import schedule
from support.controlplane.virt_api import virt_api
from support.watching import until

_NODE = "local"
_GOODBYE_SECONDS = 0.2
_STEP = "goldenpipe-step"
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the service needs to know of it."""

    kubeconfig: Path


@asynccontextmanager
async def cluster_on(plane: ControlPlane, data_dir: Path) -> AsyncIterator[Cluster]:
    """Pods of its namespace run as processes of this machine while the context is open."""
    namespace = f"goldenpipe-{uuid4().hex[:8]}"
    data_dir.mkdir(parents=True, exist_ok=True)
    kubeconfig = plane.admin_kubeconfig(data_dir / "kubeconfig", namespace)
    plane.must("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    async with await Kube.connect(kubeconfig) as kube:
        # a Pod without a service account is refused, and the Job controller would wait before it tries again
        await until(kube, "ServiceAccount", lambda _: True, name="default")
        step = _step_kubeconfig(plane, data_dir / "kubeconfig-step", namespace)
        async with virt_api(plane, kube), NodeAgent(kube, data_dir, step_kubeconfig=step, node_name=_NODE):
            scheduler = asyncio.create_task(schedule(kubeconfig, _NODE))
            try:
                yield Cluster(kubeconfig=kubeconfig)
            finally:
                ended = scheduler.done()
                scheduler.cancel()
                await asyncio.gather(scheduler, return_exceptions=not ended)
                plane.must("DELETE", f"/api/v1/namespaces/{namespace}")
        # servers tell nobody when TLS has said goodbye on connections that they closed; the API server needs a moment
        await asyncio.sleep(_GOODBYE_SECONDS)


def _step_kubeconfig(plane: ControlPlane, path: Path, namespace: str) -> Path:
    """By the token of a service account that may do what a step may do, and no more."""
    core, rbac = f"/api/v1/namespaces/{namespace}", f"/apis/{_RBAC}/v1/namespaces/{namespace}"
    metadata: Object = {"metadata": {"name": _STEP}}
    (step,) = [user for user in USERS if user.name == "step"]
    plane.must("POST", f"{core}/serviceaccounts", metadata)
    plane.must("POST", f"{rbac}/roles", {**metadata, "rules": [rule.as_json() for rule in step.rules]})
    role = {"apiGroup": _RBAC, "kind": "Role", "name": _STEP}
    subject = {"kind": "ServiceAccount", "name": _STEP, "namespace": namespace}
    plane.must("POST", f"{rbac}/rolebindings", {**metadata, "roleRef": role, "subjects": [subject]})
    token = plane.must("POST", f"{core}/serviceaccounts/{_STEP}/token", {"spec": {}})["status"]["token"]
    return plane.write_kubeconfig(path, {"token": token}, namespace=namespace)
