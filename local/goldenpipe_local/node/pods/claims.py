"""Which claims a Pod may mount: those of plain files, filled, and not while a virtual machine writes to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from goldenpipe_local.node.disks.content import FILES
from goldenpipe_local.node.disks.usage import user_of_disk
from goldenpipe_local.node.objects import is_deleting, phase_of
from goldenpipe_local.node.pods.volumes import VolumeMissing, VolumeRefused
from goldenpipe_local.node.reconciling import Informer


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Finds the folders of claims."""

    folder: Path
    claims: Informer
    volumes: Informer
    instances: Informer

    def find(self, name: str) -> Path:
        claim, volume = self.claims.get(name), self.volumes.get(name)
        if claim is None or is_deleting(claim):
            message = f'persistentvolumeclaim "{name}" not found' + (": it is being deleted" if claim else "")
            raise VolumeMissing(message)
        if phase_of(claim) != "Bound":
            message = f'persistentvolumeclaim "{name}" is not bound yet'
            raise VolumeMissing(message)
        if volume is not None and phase_of(volume) != "Succeeded":
            message = f"DataVolume {name} is not filled yet: it is {phase_of(volume) or 'new'}"
            raise VolumeMissing(message)
        if user := user_of_disk(name, self.instances.items.values()):
            message = f"Multi-Attach error for claim {name}: virtual machine {user} writes to it until it is stopped"
            raise VolumeMissing(message)
        files = self.folder / name / FILES
        if not files.is_dir():
            message = f"claim {name} is a virtual disk (qcow2), which a Pod cannot read on this node"
            raise VolumeRefused(message)
        return files
