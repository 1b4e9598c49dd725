"""Getting a disk out of the cluster: a VirtualMachineExport, its token, and the download it offers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from goldenpipe.cluster.labels import build_labels
from goldenpipe.errors import Unavailable
from goldenpipe_kube import Kube, Listed

Object = dict[str, Any]

_READY_SECONDS = 1800.0
"""How long the cluster may take to prepare a download; compressing a large disk takes minutes."""
_FORMATS = ("qcow2", "gzip", "raw")
"""What is taken if it is offered, best first. KubeVirt offers raw and gzip, the local node qcow2."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """An open download."""

    format: str
    length: int | None
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def export_disk(kube: Kube, pvc: str, build: str, *, token: str) -> AsyncIterator[Download]:
    """Offer the disk for download, open it, and take the offer back at the end."""
    name = f"{build}-export-{token[:6].lower().strip('-_') or 'x'}".replace("_", "-")
    labels = build_labels(pvc.removeprefix("golden-image-"), build)
    metadata: Object = {"name": name, "namespace": kube.namespace, "labels": labels}
    await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}})
    try:
        export = {
            "apiVersion": "export.kubevirt.io/v1beta1",
            "kind": "VirtualMachineExport",
            "metadata": metadata,
            "spec": {
                "tokenSecretRef": name,
                "ttlDuration": "1h",
                "source": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": pvc},
            },
        }
        await kube.create(export)
        async with _open(await _ready(kube, name), token) as download:
            yield download
    finally:
        await asyncio.shield(_withdraw(kube, name))


async def _withdraw(kube: Kube, name: str) -> None:
    await kube.delete("VirtualMachineExport", name)
    await kube.delete("Secret", name)


async def _ready(kube: Kube, name: str) -> Object:
    latest: Object = {}
    try:
        async with asyncio.timeout(_READY_SECONDS):
            async for event in kube.watch("VirtualMachineExport", fields=f"metadata.name={name}"):
                if isinstance(event, Listed):
                    continue
                latest = event.object
                if event.type == "DELETED":
                    break
                if latest.get("status", {}).get("phase") == "Ready":
                    return latest
    except TimeoutError:
        pass
    told = [c.get("message") for c in latest.get("status", {}).get("conditions") or [] if c.get("message")]
    message = f"the cluster did not prepare the download: {'; '.join(told) or 'no reason was given'}"
    raise Unavailable(message)


@asynccontextmanager
async def _open(export: Object, token: str) -> AsyncIterator[Download]:
    link = export["status"]["links"]["internal"]
    offered = {entry["format"]: entry["url"] for entry in link["volumes"][0]["formats"]}
    chosen = next((name for name in _FORMATS if name in offered), None)
    if chosen is None:
        message = f"the cluster offers the disk as {', '.join(offered)}; none of these is known here"
        raise Unavailable(message)
    trust = ssl.create_default_context(cadata=link["cert"]) if link.get("cert") else ssl.create_default_context()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=300)
    headers = {"x-kubevirt-export-token": token}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(offered[chosen], headers=headers, ssl=trust) as answer,
        ):
            answer.raise_for_status()
            yield Download(format=chosen, length=answer.content_length, chunks=answer.content.iter_any())
    except aiohttp.ClientError as error:
        message = f"the download failed: {error}"
        raise Unavailable(message) from error
