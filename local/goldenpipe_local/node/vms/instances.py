"""virt-controller and virt-handler: takes a VirtualMachineInstance from Pending to its end, with a QEMU of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from goldenpipe_kube import Kube, NotFound, Object
from goldenpipe_local.node.disks.content import content_of
from goldenpipe_local.node.disks.importer import Volume
from goldenpipe_local.node.disks.status import ALLOCATED_BYTES
from goldenpipe_local.node.disks.usage import claim_names, mounted_claims, user_of_files
from goldenpipe_local.node.events import Events
from goldenpipe_local.node.files import private_folder, remove_tree
from goldenpipe_local.node.objects import (
    find_condition,
    is_deleting,
    is_launcher,
    name_of,
    phase_of,
    seconds_since,
    uid_of,
)
from goldenpipe_local.node.pods.volumes import VolumeMissing
from goldenpipe_local.node.reconciling import Informer, Reconciler, key_of, split_key
from goldenpipe_local.node.vms.accelerator import AcceleratorChoice
from goldenpipe_local.node.vms.hardware import Hardware, HardwareRefused, hardware_of
from goldenpipe_local.node.vms.launcher import CREATED_BY, launcher_pod, launcher_status
from goldenpipe_local.node.vms.machine import Machine
from goldenpipe_local.node.vms.media import images_of, write_media
from goldenpipe_local.node.vms.status import (
    FINAL_PHASES,
    LAUNCHER_ENDS,
    NOT_RUNNING,
    RUNNING,
    ended_patch,
    migration_patch,
    phase_patch,
    running_patch,
    scheduled_patch,
    scheduling_patch,
    waiting_conditions,
)

log = logging.getLogger(__name__)

FINALIZER = "kubevirt.io/virtualMachineControllerFinalize"
FOREGROUND_FINALIZER = "kubevirt.io/foregroundDeleteVirtualMachine"
DEFAULT_GRACE_SECONDS = 30.0
SECRET_RETRY = 1.0
_COMPONENT = "virt-handler"


class InstanceController:
    """Runs the machines of this node."""

    def __init__(
        self,
        kube: Kube,
        events: Events,
        *,
        folder: Path,
        claims_folder: Path,
        choice: AcceleratorChoice,
        node_name: str,
        instances: Informer,
        pods: Informer,
        volumes: Informer,
        claims: Informer,
    ) -> None:
        self._kube = kube
        self._events = events
        self._folder = folder
        self._claims_folder = claims_folder
        self._choice = choice
        self._node = node_name
        self._instances = instances
        self._pods = pods
        self._volumes = volumes
        self._claims = claims
        self._machines: dict[str, Machine] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._told: set[tuple[str, str, str]] = set()
        self._queue = Reconciler("instance", self.reconcile)
        instances.subscribe(lambda instance: self._queue.enqueue(key_of(instance)))
        pods.subscribe(self._on_pod)
        for informer in (volumes, claims):
            informer.subscribe(lambda disk: self._look_again(name_of(disk)))

    def start(self) -> None:
        """Called when all instances are known: machines whose instance is gone are ended, their folders removed."""
        known = {uid_of(instance) for instance in self._instances.items.values()}
        for folder in private_folder(self._folder).iterdir():
            if folder.name not in known:
                self._remove(folder)

    async def close(self) -> None:
        """Stop watching; the machines run on."""
        await self._queue.close()
        tasks = list(self._runs.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def screenshot(self, name: str) -> bytes | None:
        """PNG of what an instance shows; None if it shows nothing."""
        instance = self._instances.get(name)
        machine = self._machines.get(uid_of(instance)) if instance else None
        return await machine.screenshot() if machine else None

    def _on_pod(self, pod: Object) -> None:
        if is_launcher(pod):
            for owner in pod["metadata"].get("ownerReferences") or []:
                self._queue.enqueue(f"{owner['name']}/{owner['uid']}")
        for claim in mounted_claims(pod):
            self._look_again(claim)

    def _look_again(self, claim: str) -> None:
        for instance in self._instances.items.values():
            if phase_of(instance) in ("", "Pending") and claim in claim_names(instance):
                self._queue.enqueue(key_of(instance))

    async def reconcile(self, key: str) -> float | None:
        name, uid = split_key(key)
        instance = self._instances.get(name, uid)
        if instance is None:
            await self._forget(uid)
            await self._remove_launcher(uid)
            return None
        if phase_of(instance) in FINAL_PHASES:
            await self._tidy_up(instance)
            return None
        if is_deleting(instance) and not self._is_started(instance):
            await self._end(instance, clean=False, message="")
            return None
        if phase_of(instance) in ("", "Pending"):
            return await self._schedule(instance)
        return await self._run(instance)

    def _is_started(self, instance: Object) -> bool:
        return uid_of(instance) in self._machines or (self._folder / uid_of(instance) / "plan.json").exists()

    async def _schedule(self, instance: Object) -> float | None:
        """Wait for the disks, then go through the phases that take time on a cluster and none here."""
        reason, message = self._missing_disk(instance)
        if reason:
            if (find_condition(instance, "Synchronized") or {}).get("message") != message:
                self._events.tell(instance, reason, message, component="virtualmachine-controller")
                await self._patch(instance, phase_patch(instance, "Pending", *waiting_conditions(reason, message)))
            return None
        if not self._disks_are_filled(instance):
            return None
        await self._ensure_launcher(instance)
        await self._patch(instance, scheduling_patch(instance))
        return 0.0

    def _missing_disk(self, instance: Object) -> tuple[str, str]:
        for name in claim_names(instance):
            if self._claims.get(name) is None and self._volumes.get(name) is None:
                words = f"PVC {self._kube.namespace}/{name} does not exist, waiting for it to appear"
                return "FailedPvcNotFound", words
            if pod := user_of_files(name, self._pods.items.values()):
                words = f"Multi-Attach error for claim {name}: Pod {pod} has it mounted, waiting for it to end"
                return "FailedAttachVolume", words
        return "", ""

    def _disks_are_filled(self, instance: Object) -> bool:
        for name in claim_names(instance):
            volume = self._volumes.get(name)
            if volume is not None and phase_of(volume) != "Succeeded":
                return False
            if content_of(self._claims_folder / name) is None:
                return False
        return True

    async def _run(self, instance: Object) -> float | None:
        """From Scheduling to the end."""
        uid = uid_of(instance)
        machine = self._machines.get(uid)
        if machine is None:
            try:
                hardware = await self._prepare(instance)
            except HardwareRefused as refusal:
                await self._end(instance, clean=False, message=str(refusal))
                return None
            except VolumeMissing as missing:
                self._tell_once(instance, "FailedMount", f"MountVolume.SetUp failed: {missing}")
                return SECRET_RETRY
            machine = self._launch(instance, hardware)
            if phase_of(instance) == "Scheduling":
                instance = await self._patch(instance, scheduled_patch(instance, self._node))
                instance = await self._patch(instance, migration_patch(instance))
        pod = self._launcher(uid)
        deleted = next((each for each in (instance, pod) if each and is_deleting(each)), None)
        if deleted:
            self._stop(instance, machine, deleted["metadata"]["deletionTimestamp"])
            instance = await self._patch(instance, phase_patch(instance, phase_of(instance), LAUNCHER_ENDS))
        await self._tell_view(instance, machine, ready=deleted is None)
        return None

    async def _prepare(self, instance: Object) -> Hardware:
        folder = private_folder(self._folder / uid_of(instance))
        images = images_of(instance, folder, self._claims_folder)
        hardware = hardware_of(instance, images)
        if not (folder / "plan.json").exists():
            await write_media(self._kube, instance, folder)
        return hardware

    def _launch(self, instance: Object, hardware: Hardware) -> Machine:
        uid, key = uid_of(instance), key_of(instance)
        machine = Machine(self._folder / uid, hardware, self._choice, lambda: self._queue.enqueue(key))
        self._machines[uid] = machine
        task = asyncio.create_task(self._keep_running(machine), name=f"machine {name_of(instance)}")
        self._runs[uid] = task
        task.add_done_callback(lambda _: self._runs.pop(uid, None))
        return machine

    async def _keep_running(self, machine: Machine) -> None:
        """A bug of ours must not leave a machine unwatched: what its folder says is taken up again."""
        while True:
            try:
                await machine.run()
            except Exception:
                log.exception("watching the machine in %s failed and is taken up again", machine.folder)
                await asyncio.sleep(1.0)
            else:
                return

    def _stop(self, instance: Object, machine: Machine, asked: str) -> None:
        grace = instance["spec"].get("terminationGracePeriodSeconds")
        seconds = DEFAULT_GRACE_SECONDS if grace is None else float(grace)
        self._tell_once(instance, "ShuttingDown", "Signaled Graceful Shutdown")
        machine.stop(seconds - seconds_since(asked))

    async def _tell_view(self, instance: Object, machine: Machine, *, ready: bool) -> None:
        view = machine.view
        if view.result:
            await self._end(instance, clean=view.result.clean, message=view.result.message)
        elif view.running and view.plan:
            if phase_of(instance) != "Running":
                self._events.tell(instance, "Created", "VirtualMachineInstance defined.", component=_COMPONENT)
                self._events.tell(instance, "Started", "VirtualMachineInstance started.", component=_COMPONENT)
            instance = await self._patch(instance, running_patch(instance, view.plan))
            if ready:
                await self._patch(instance, phase_patch(instance, "Running", RUNNING))

    async def _end(self, instance: Object, *, clean: bool, message: str) -> None:
        for name in claim_names(instance):
            await self._measure(name)
        words = "The VirtualMachineInstance was shut down." if clean else "The VirtualMachineInstance crashed."
        words = words if clean else f"{words} {message}"
        if clean or message:
            self._events.tell(instance, "Stopped", words, component=_COMPONENT, warning=not clean)
        await self._patch(instance, ended_patch(instance, clean=clean, message=message))

    async def _measure(self, claim: str) -> None:
        """Write down what the disk really takes, now that the guest is done with it."""
        disk = Volume(self._claims_folder / claim)
        allocated = disk.allocated()
        if self._claims.get(claim) is None or not allocated:
            return
        patch = {"metadata": {"annotations": {ALLOCATED_BYTES: str(allocated)}}}
        with contextlib.suppress(NotFound):
            self._claims.saw(await self._kube.patch("PersistentVolumeClaim", claim, patch))

    async def _tidy_up(self, instance: Object) -> None:
        """After the end: the Pod is over too, and once deletion is asked for nothing holds the object any more."""
        if (find_condition(instance, "Ready") or {}).get("status") == "True":
            instance = await self._patch(instance, phase_patch(instance, phase_of(instance), NOT_RUNNING))
        finalizers = [each for each in instance["metadata"].get("finalizers") or [] if each != FINALIZER]
        pod = self._launcher(uid_of(instance))
        if pod and phase_of(pod) not in FINAL_PHASES:
            status = {"status": launcher_status(pod, ended=True)}
            self._pods.saw(await self._kube.patch("Pod", name_of(pod), status, subresource="status"))
            instance = await self._patch(instance, phase_patch(instance, phase_of(instance), LAUNCHER_ENDS))
        if is_deleting(instance) or (pod and is_deleting(pod)):
            await self._remove_launcher(uid_of(instance))
        if is_deleting(instance):
            finalizers = [each for each in finalizers if each != FOREGROUND_FINALIZER]
        if finalizers != (instance["metadata"].get("finalizers") or []):
            await self._patch(instance, {"metadata": {"finalizers": finalizers}})

    async def _ensure_launcher(self, instance: Object) -> None:
        if self._launcher(uid_of(instance)):
            return
        pod = self._pods.saw(await self._kube.create(launcher_pod(instance, self._node)))
        words = f"Created virtual machine pod {name_of(pod)}"
        self._events.tell(instance, "SuccessfulCreate", words, component="virtualmachine-controller")
        status = {"status": launcher_status(pod, ended=False)}
        self._pods.saw(await self._kube.patch("Pod", name_of(pod), status, subresource="status"))

    async def _remove_launcher(self, uid: str) -> None:
        pod = self._launcher(uid)
        if pod:
            await self._kube.delete("Pod", name_of(pod), grace_seconds=0, uid=uid_of(pod))

    def _launcher(self, uid: str) -> Object | None:
        """The Pod of the instance with this uid."""
        labels = ((pod, pod["metadata"].get("labels") or {}) for pod in self._pods.items.values())
        return next((pod for pod, each in labels if each.get(CREATED_BY) == uid), None)

    async def _forget(self, uid: str) -> None:
        task = self._runs.get(uid)
        if task:
            task.cancel()
            await asyncio.wait([task])
        self._machines.pop(uid, None)
        self._told = {each for each in self._told if each[0] != uid}
        self._remove(self._folder / uid)

    def _remove(self, folder: Path) -> None:
        if folder.exists():
            Machine.kill_leftover(folder)
            remove_tree(folder)

    async def _patch(self, instance: Object, patch: Object) -> Object:
        """The instance as it is now; as it was, if there was nothing to change or it has gone."""
        if patch:
            with contextlib.suppress(NotFound):
                name = name_of(instance)
                return self._instances.saw(await self._kube.patch("VirtualMachineInstance", name, patch))
        return instance

    def _tell_once(self, instance: Object, reason: str, message: str) -> None:
        mark = (uid_of(instance), reason, message)
        if mark not in self._told:
            self._told.add(mark)
            self._events.tell(instance, reason, message, component=_COMPONENT, warning=reason.startswith("Failed"))
