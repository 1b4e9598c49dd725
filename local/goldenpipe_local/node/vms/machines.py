"""virt-controller's other half: makes an instance of a VirtualMachine when its run strategy or a request says so."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections import deque
from copy import deepcopy

from goldenpipe_kube import Conflict, Kube, NotFound, Object
from goldenpipe_local.node.disks.usage import claim_names
from goldenpipe_local.node.events import Events
from goldenpipe_local.node.objects import is_deleting, name_of, now, owner_reference, phase_of, seconds_since, uid_of
from goldenpipe_local.node.reconciling import Informer, Reconciler, key_of, split_key
from goldenpipe_local.node.vms.instances import FINALIZER, FOREGROUND_FINALIZER
from goldenpipe_local.node.vms.status import FINAL_PHASES, machine_status, run_strategy

log = logging.getLogger(__name__)

_COMPONENT = "virtualmachine-controller"
_REMEMBERED = 100
"""Instances whose deletion was asked for lately; the watch may tell it later than we look."""
_ORPHAN = "orphan"
"""The finalizer of `--cascade=orphan`: the instance is to stay without its machine."""
CRASH_PAUSE = 10.0
"""Seconds before a machine with run strategy Always is started again after a crash."""


class MachineController:
    """Keeps each VirtualMachine's instance as its run strategy wants it."""

    def __init__(
        self, kube: Kube, events: Events, *, machines: Informer, instances: Informer, volumes: Informer
    ) -> None:
        self._kube = kube
        self._events = events
        self._machines = machines
        self._instances = instances
        self._volumes = volumes
        self._stopped: deque[str] = deque(maxlen=_REMEMBERED)
        self._queue = Reconciler("machine", self.reconcile)
        machines.subscribe(lambda machine: self._queue.enqueue(key_of(machine)))
        instances.subscribe(self._on_instance)
        volumes.subscribe(self._on_volume)

    async def close(self) -> None:
        await self._queue.close()

    def _on_instance(self, instance: Object) -> None:
        for owner in instance["metadata"].get("ownerReferences") or []:
            self._queue.enqueue(f"{owner['name']}/{owner['uid']}")

    def _on_volume(self, volume: Object) -> None:
        for machine in self._machines.items.values():
            if name_of(volume) in claim_names(machine["spec"]["template"]):
                self._queue.enqueue(key_of(machine))

    async def reconcile(self, key: str) -> float | None:
        name, uid = split_key(key)
        machine = self._machines.get(name, uid)
        if machine is None:
            return None
        if is_deleting(machine):
            return await self._delete(machine)
        machine = await self._adopt(machine)
        again, requests = await self._sync(machine)
        await self._write_status(self._machines.get(name, uid) or machine, requests)
        return again

    async def _adopt(self, machine: Object) -> Object:
        """Put our finalizer on it, and the firmware's UUID: it stays the same over all starts of this machine."""
        if not machine.get("status"):
            machine = await self._patch_status(machine, {"printableStatus": "Stopped"})
        patch: Object = {}
        finalizers = machine["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            patch["metadata"] = {"finalizers": [*finalizers, FINALIZER]}
        firmware = machine["spec"]["template"]["spec"]["domain"].get("firmware") or {}
        if not firmware.get("uuid"):
            domain = {"firmware": {"uuid": str(uuid.uuid4()), "serial": str(uuid.uuid4())}}
            patch["spec"] = {"template": {"spec": {"domain": domain}}}
        if not patch:
            return machine
        return self._machines.saw(await self._kube.patch("VirtualMachine", name_of(machine), patch))

    async def _sync(self, machine: Object) -> tuple[float | None, list[Object] | None]:
        """When to look again, and the requests that are left; None if there were none, as one may come any moment."""
        await self._ensure_volumes(machine)
        instance = self._instance(machine)
        requests = (machine.get("status") or {}).get("stateChangeRequests") or []
        if requests:
            return None, await self._answer(machine, instance, requests)
        strategy = run_strategy(machine)
        if strategy == "Halted" and instance:
            await self._stop(machine, instance)
        elif strategy in ("Always", "Once") and instance is None:
            await self._create(machine)
        elif strategy == "Always" and instance and phase_of(instance) in FINAL_PHASES:
            return await self._start_again(machine, instance), None
        return None, None

    async def _answer(self, machine: Object, instance: Object | None, requests: list[Object]) -> list[Object]:
        """Do what the first request asks for; without it when that is done."""
        first = requests[0]
        if first["action"] == "Stop":
            if instance and uid_of(instance) == first.get("uid"):
                await self._stop(machine, instance)
                return requests
        elif instance is None:
            await self._create(machine)
            if self._instance(machine) is None:
                return requests
        return requests[1:]

    async def _start_again(self, machine: Object, instance: Object) -> float | None:
        if phase_of(instance) == "Failed":
            ended = (instance["status"].get("phaseTransitionTimestamps") or [{}])[-1].get("phaseTransitionTimestamp")
            left = CRASH_PAUSE - _age(ended)
            if left > 0:
                return left
        await self._stop(machine, instance)
        return None

    async def _create(self, machine: Object) -> None:
        if any(phase_of(volume) != "Succeeded" for volume in self._own_volumes(machine)):
            return  # an instance is made once the machine's own disks are filled
        known = self._instances.get(name_of(machine))
        if known:
            return  # another owner's, or one that is about to vanish
        await self._write_status(machine)
        try:
            instance = await self._kube.create(instance_of(machine))
        except Conflict:
            return
        self._instances.saw(instance)
        words = "Started the virtual machine by creating the new virtual machine instance"
        self._events.tell(machine, "SuccessfulCreate", f"{words} {name_of(instance)}", component=_COMPONENT)

    async def _stop(self, machine: Object, instance: Object) -> None:
        if is_deleting(instance) or uid_of(instance) in self._stopped:
            return
        await self._kube.delete("VirtualMachineInstance", name_of(instance), uid=uid_of(instance))
        self._stopped.append(uid_of(instance))
        words = "Stopped the virtual machine by deleting the virtual machine instance"
        self._events.tell(machine, "SuccessfulDelete", f"{words} {uid_of(instance)}", component=_COMPONENT)

    async def _ensure_volumes(self, machine: Object) -> None:
        for template in machine["spec"].get("dataVolumeTemplates") or []:
            if self._volumes.get(template["metadata"]["name"]) is None:
                metadata = {**template["metadata"], "ownerReferences": [owner_reference(machine)]}
                volume = {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": metadata}
                self._volumes.saw(await self._kube.ensure({**volume, "spec": template["spec"]}))

    async def _delete(self, machine: Object) -> float | None:
        finalizers = machine["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return None
        # asked for and not remembered: whoever makes it an orphan does so moments before this
        instance = await self._kube.find("VirtualMachineInstance", name_of(machine))
        owners = [each["uid"] for each in (instance or {}).get("metadata", {}).get("ownerReferences") or []]
        if instance and uid_of(machine) in owners and _ORPHAN not in finalizers:
            await self._stop(machine, instance)
            await self._write_status(machine)
            return None
        left = [each for each in finalizers if each != FINALIZER]
        with contextlib.suppress(NotFound):
            await self._kube.patch("VirtualMachine", name_of(machine), {"metadata": {"finalizers": left}})
        return None

    async def _write_status(self, machine: Object, requests: list[Object] | None = None) -> None:
        names = claim_names(machine["spec"]["template"])
        volumes = [volume for name in names if (volume := self._volumes.get(name))]
        status = machine_status(machine, self._instance(machine), volumes)
        known = machine.get("status") or {}
        if requests is not None:
            status["stateChangeRequests"] = requests or None
        if any(known.get(field) != value for field, value in status.items()):
            await self._patch_status(machine, status)

    async def _patch_status(self, machine: Object, status: Object) -> Object:
        with contextlib.suppress(NotFound):
            patch, name = {"status": status}, name_of(machine)
            return self._machines.saw(await self._kube.patch("VirtualMachine", name, patch, subresource="status"))
        return machine

    def _instance(self, machine: Object) -> Object | None:
        """The machine's own instance."""
        instance = self._instances.get(name_of(machine))
        owners = (instance["metadata"].get("ownerReferences") or []) if instance else []
        return instance if any(owner["uid"] == uid_of(machine) for owner in owners) else None

    def _own_volumes(self, machine: Object) -> list[Object]:
        names = [template["metadata"]["name"] for template in machine["spec"].get("dataVolumeTemplates") or []]
        return [self._volumes.get(name) or {} for name in names]


def instance_of(machine: Object) -> Object:
    """The instance that a VirtualMachine's template describes, with the defaults that KubeVirt sets."""
    template = machine["spec"]["template"]
    spec = deepcopy(template["spec"])
    spec.setdefault("architecture", "amd64")
    spec.setdefault("evictionStrategy", "None")
    domain = spec["domain"]
    domain.setdefault("machine", {"type": "q35"})
    domain.setdefault("features", {"acpi": {"enabled": True}})
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {
            "name": name_of(machine),
            "labels": dict(metadata.get("labels") or {}),
            "annotations": dict(metadata.get("annotations") or {}),
            "finalizers": [FINALIZER, FOREGROUND_FINALIZER],
            "ownerReferences": [owner_reference(machine)],
        },
        "spec": spec,
        "status": {
            "phase": "Pending",
            "phaseTransitionTimestamps": [{"phase": "Pending", "phaseTransitionTimestamp": now()}],
        },
    }


def _age(timestamp: str | None) -> float:
    return seconds_since(timestamp) if timestamp else CRASH_PAUSE
