"""What a build's VM shows: looked at while it runs, and kept when a build fails, since its VM is taken away then."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from goldenpipe.cluster.seen import Seen
from goldenpipe.model.build import Build
from goldenpipe_kube import Kube, KubeError

log = logging.getLogger(__name__)

_SECONDS = 10.0
"""A picture is a help, and never worth waiting longer for."""
_LARGEST = 16 << 20


class Screenshots:
    """One PNG for each build that failed while a VM of it ran."""

    def __init__(self, folder: Path, kube: Kube, seen: Seen) -> None:
        self._folder, self._kube, self._seen = folder, kube, seen

    async def take(self, build: Build) -> bytes | None:
        """PNG of the VM that runs now, of several the one made last; None if none runs or it cannot be had."""
        for kind, name in reversed(build.objects):
            if kind == "VirtualMachine" and self._runs(name):
                try:
                    async with asyncio.timeout(_SECONDS):
                        return await self._kube.screenshot(name)
                except (KubeError, TimeoutError) as error:
                    log.info("build %s: no screenshot of %s: %s", build.id, name, error or "no answer")
        return None

    def _runs(self, name: str) -> bool:
        vmi = self._seen.get("VirtualMachineInstance", name)
        return vmi is not None and vmi.get("status", {}).get("phase") == "Running"

    async def keep(self, build: Build) -> None:
        """Keep what the VM shows now; what was kept before stays, it is nearer to the failure."""
        if not self._path(build.id).exists() and (picture := await self.take(build)) and len(picture) <= _LARGEST:
            await asyncio.to_thread(self._write, build.id, picture)

    async def read(self, build_id: str) -> bytes | None:
        try:
            return await asyncio.to_thread(self._path(build_id).read_bytes)
        except FileNotFoundError:
            return None

    def remove(self, build_id: str) -> None:
        self._path(build_id).unlink(missing_ok=True)

    def _path(self, build_id: str) -> Path:
        return self._folder / f"{build_id}.png"

    def _write(self, build_id: str, picture: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._path(build_id).with_suffix(".part")
        part.write_bytes(picture)
        part.replace(self._path(build_id))
