"""Kubernetes Events, written in the background: they tell the story, nothing waits for them."""

from __future__ import annotations

import asyncio
import logging
import secrets

from goldenpipe_kube import Kube, KubeError, Object
from goldenpipe_local.node.objects import name_of, now, uid_of

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 1024
"""Characters; the API refuses longer ones."""


class Events:
    """Writes Events in the order in which they happened."""

    def __init__(self, kube: Kube, node_name: str) -> None:
        self._kube = kube
        self._node = node_name
        self._queue: asyncio.Queue[Object] = asyncio.Queue()

    def tell(
        self, obj: Object, reason: str, message: str, *, component: str, warning: bool = False, field: str = ""
    ) -> None:
        moment = now()
        involved = {
            "kind": obj["kind"],
            "apiVersion": obj["apiVersion"],
            "namespace": self._kube.namespace,
            "name": name_of(obj),
            "uid": uid_of(obj),
        }
        if field:
            involved["fieldPath"] = field
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name_of(obj)}.{secrets.token_hex(8)}", "namespace": self._kube.namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message[:LONGEST_MESSAGE],
            "type": "Warning" if warning else "Normal",
            "source": {"component": component, "host": self._node},
            "reportingComponent": component,
            "reportingInstance": self._node,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        self._queue.put_nowait(event)

    async def run(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await self._kube.create(event)
            except KubeError as error:
                log.debug("event %s not written: %s", event["reason"], error)
