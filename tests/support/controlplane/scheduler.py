"""kube-scheduler for one node: binds every Pod of a namespace to it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import aiohttp

from goldenpipe_kube import Event, Kube
from support.api import Api


async def schedule(kubeconfig: Path, node: str) -> None:
    """For ever."""
    async with await Kube.connect(kubeconfig) as kube, Api.connect(kubeconfig) as api:
        async for event in kube.watch("Pod", fields="spec.nodeName="):
            if not isinstance(event, Event) or event.type == "DELETED":
                continue
            name = event.object["metadata"]["name"]
            binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
            path = f"/api/v1/namespaces/{kube.namespace}/pods/{name}/binding"
            # where the API server is gone, so is the watch, and its next list brings the Pod again
            with contextlib.suppress(aiohttp.ClientError):
                answer = await api.call("POST", path, binding)
                # it may have been deleted, or bound a moment ago
                assert answer.status in (201, 404, 409), answer.body
