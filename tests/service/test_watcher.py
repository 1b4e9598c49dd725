"""What the service sees of the cluster."""

from __future__ import annotations

import asyncio

from goldenpipe.cluster.seen import Seen
from goldenpipe.cluster.watcher import watch_kind
from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer


async def test_a_claim_is_seen_though_cdi_says_that_it_manages_it(api: ApiServer) -> None:
    labels = {"goldenpipe.io/build": "web-3fa9c", "app.kubernetes.io/managed-by": "cdi-controller"}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "golden-image-web", "labels": labels}
    builds: asyncio.Queue[str] = asyncio.Queue()
    async with await Kube.connect(api.kubeconfig) as kube:
        kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        await kube.create({**kind, "metadata": metadata, "spec": spec})
        watch = watch_kind(
            kube, kind["kind"], Seen(runs=lambda _: True), on_build=builds.put_nowait, on_object=lambda _: None
        )
        task = asyncio.create_task(watch)
        async with asyncio.timeout(20):
            assert await builds.get() == "web-3fa9c"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
