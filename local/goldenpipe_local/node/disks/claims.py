"""Claims: those that no DataVolume fills get an empty folder; the files of each go when it goes and nobody uses it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from goldenpipe_kube import Kube, NotFound, Object
from goldenpipe_local.node.disks.content import FILES
from goldenpipe_local.node.disks.controller import DataVolumeController
from goldenpipe_local.node.disks.status import PROTECTION, bound_claim_status
from goldenpipe_local.node.disks.usage import claim_names, is_in_use, is_mounted, mounted_claims
from goldenpipe_local.node.files import private_folder, remove_tree
from goldenpipe_local.node.objects import is_deleting, name_of, phase_of
from goldenpipe_local.node.reconciling import Informer, Reconciler, key_of, split_key

log = logging.getLogger(__name__)


class ClaimController:
    """Binds plain claims, and removes the files of claims that are deleted."""

    def __init__(
        self,
        kube: Kube,
        folder: Path,
        imports: DataVolumeController,
        *,
        claims: Informer,
        instances: Informer,
        pods: Informer,
    ) -> None:
        self._kube = kube
        self._folder = folder
        self._imports = imports
        self._claims = claims
        self._instances = instances
        self._pods = pods
        self._queue = Reconciler("claim", self.reconcile)
        claims.subscribe(lambda claim: self._queue.enqueue(key_of(claim)))
        instances.subscribe(lambda instance: self._look_again(claim_names(instance)))
        pods.subscribe(lambda pod: self._look_again(mounted_claims(pod)))

    async def start(self) -> None:
        """Called when all claims are known: what has a folder but no claim any more is removed."""
        for folder in private_folder(self._folder).iterdir():
            if folder.name not in self._claims.items:
                await asyncio.to_thread(remove_tree, folder)

    async def close(self) -> None:
        await self._queue.close()

    def _look_again(self, names: list[str]) -> None:
        """Whoever used these claims may not any more."""
        for name in names:
            claim = self._claims.get(name)
            if claim and is_deleting(claim):
                self._queue.enqueue(key_of(claim))

    async def reconcile(self, key: str) -> None:
        name, uid = split_key(key)
        claim = self._claims.get(name, uid)
        if claim is None:
            if self._claims.get(name) is None:
                await self._remove(name)
            return
        if not is_deleting(claim):
            if not _is_of_data_volume(claim) and phase_of(claim) != "Bound":
                await self._bind(claim)
            return
        if PROTECTION not in claim["metadata"].get("finalizers", []):
            return
        if is_in_use(name, self._instances.items.values()):
            log.info("claim %s is deleted once its virtual machine has ended", name)
            return
        if is_mounted(name, self._pods.items.values()):
            log.info("claim %s is deleted once the Pods that name it are", name)
            return
        await self._remove(name)
        await self._release(claim)

    async def _bind(self, claim: Object) -> None:
        private_folder(self._folder / name_of(claim) / FILES)
        finalizers = claim["metadata"].get("finalizers") or []
        if PROTECTION not in finalizers:  # set by the API server of a real cluster
            patch = {"metadata": {"finalizers": [*finalizers, PROTECTION]}}
            await self._kube.patch("PersistentVolumeClaim", name_of(claim), patch)
        status = {"status": bound_claim_status(claim)}
        self._claims.saw(await self._kube.patch("PersistentVolumeClaim", name_of(claim), status, subresource="status"))

    async def _remove(self, name: str) -> None:
        await self._imports.cancel(name)
        await asyncio.to_thread(remove_tree, self._folder / name)

    async def _release(self, claim: Object) -> None:
        left = [each for each in claim["metadata"]["finalizers"] if each != PROTECTION]
        try:
            await self._kube.patch("PersistentVolumeClaim", name_of(claim), {"metadata": {"finalizers": left}})
        except NotFound:
            log.debug("claim %s is gone already", name_of(claim))


def _is_of_data_volume(claim: Object) -> bool:
    return any(owner["kind"] == "DataVolume" for owner in claim["metadata"].get("ownerReferences") or [])
