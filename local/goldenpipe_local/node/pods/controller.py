"""The kubelet: runs the container of each Pod that is bound to this node as a process of the host."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from pathlib import Path

from goldenpipe_kube import Kube, NotFound, Object
from goldenpipe_local.node.events import Events
from goldenpipe_local.node.files import private_folder
from goldenpipe_local.node.objects import is_deleting, is_launcher, name_of, phase_of, seconds_since, uid_of
from goldenpipe_local.node.pods.container import Container, Ended, Lost, NotStarted, Running
from goldenpipe_local.node.pods.environment import StepKubeconfig, build_command
from goldenpipe_local.node.pods.logs import tail_of_log
from goldenpipe_local.node.pods.status import (
    creating_status,
    ended_status,
    exited_status,
    refused_status,
    running_status,
    trim_message,
)
from goldenpipe_local.node.pods.volumes import (
    FindClaim,
    VolumeMissing,
    VolumeRefused,
    materialize,
    path_map,
    remove_volumes,
)
from goldenpipe_local.node.reconciling import Informer, Reconciler, key_of, split_key

log = logging.getLogger(__name__)

MOUNT_RETRY = 1.0
"""Seconds until a missing Secret is looked for again; Secrets are not watched, as that would show us all of them."""
FINAL_PHASES = ("Succeeded", "Failed")


class PodController:
    """Makes processes of Pods."""

    def __init__(
        self,
        kube: Kube,
        pods: Informer,
        events: Events,
        folder: Path,
        *,
        node_name: str,
        step_kubeconfig: StepKubeconfig | None,
        find_claim: FindClaim,
    ) -> None:
        self._kube = kube
        self._pods = pods
        self._events = events
        self._folder = folder
        self._node = node_name
        self._kubeconfig = step_kubeconfig
        self._find_claim = find_claim
        self._queue = Reconciler("pod", self.reconcile)
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        pods.subscribe(lambda pod: self._queue.enqueue(key_of(pod)))

    def start(self) -> None:
        """Called when all Pods are known: what has a folder but no Pod any more is cleaned up."""
        known = {uid_of(pod) for pod in self._pods.items.values()}
        for folder in private_folder(self._folder).iterdir():
            if folder.name not in known:
                self._forget(folder.name)

    async def close(self) -> None:
        await self._queue.close()
        tasks = list(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reconcile(self, key: str) -> float | None:
        name, uid = split_key(key)
        pod = self._pods.get(name, uid)
        if pod is None:
            self._forget(uid)
            return None
        if is_launcher(pod):
            return None
        if pod["spec"].get("nodeName") != self._node:
            return None
        if is_deleting(pod):
            return await self._terminate(pod)
        if phase_of(pod) in FINAL_PHASES:
            remove_volumes(self._volumes(pod))
            return None
        return await self._run(pod)

    async def _run(self, pod: Object) -> float | None:
        container = self._container(pod)
        state = container.state()
        if isinstance(state, NotStarted):
            again = await self._start(pod, container)
            if again is not None:
                return again
            state = container.state()
        if isinstance(state, Running):
            self._wait_for_end(pod, container)
            if phase_of(pod) != "Running":
                await self._write_status(pod, running_status(pod, state))
        elif isinstance(state, Ended | Lost):
            await self._finish(pod, container, state)
        return None

    async def _start(self, pod: Object, container: Container) -> float | None:
        refusal = _refusal(pod)
        if refusal:
            await self._refuse(pod, refusal)
            return 0.0
        folder = private_folder(self._folder / uid_of(pod))
        termination = folder / "termination-log"
        try:
            volumes = await materialize(self._kube, pod, self._volumes(pod), self._find_claim)
            paths = path_map(pod["spec"]["containers"][0], volumes, termination)
            home = private_folder(folder / "home")
            command = await build_command(self._kube, pod, paths, home, self._kubeconfig)
        except VolumeMissing as error:
            return await self._wait_for_volumes(pod, str(error))
        except VolumeRefused as error:
            await self._refuse(pod, str(error))
            return 0.0
        termination.touch(mode=0o600)
        workdir = pod["spec"]["containers"][0].get("workingDir")
        cwd = Path(paths.rewrite(workdir)) if workdir else home
        await container.start(command.argv, command.env, cwd if cwd.is_dir() else home)
        self._tell_started(pod, container.state())
        return None

    async def _wait_for_volumes(self, pod: Object, words: str) -> float:
        message = f"MountVolume.SetUp failed: {words}"
        known = ((pod.get("status") or {}).get("containerStatuses") or [{}])[0].get("state", {}).get("waiting")
        if not known or known.get("message") != message:
            self._events.tell(pod, "FailedMount", message, component="kubelet", warning=True)
            await self._write_status(pod, creating_status(pod, message=message))
        return MOUNT_RETRY

    async def _refuse(self, pod: Object, words: str) -> None:
        self._events.tell(pod, "Failed", words, component="kubelet", warning=True)
        await self._write_status(pod, refused_status(pod, "NotSupportedOnThisNode", words))

    def _tell_started(self, pod: Object, state: object) -> None:
        container = pod["spec"]["containers"][0]
        field = f"spec.containers{{{container['name']}}}"
        image = container.get("image", "")
        words = f'Container image "{image}" is not used: on this node the command runs as a process of the host'
        self._events.tell(pod, "Pulled", words, component="kubelet", field=field)
        self._events.tell(pod, "Created", "Container created", component="kubelet", field=field)
        if isinstance(state, Ended) and state.reason == "StartError":
            self._events.tell(pod, "Failed", state.message, component="kubelet", field=field, warning=True)
        else:
            self._events.tell(pod, "Started", "Container started", component="kubelet", field=field)

    async def _finish(self, pod: Object, container: Container, state: Ended | Lost) -> None:
        container.clean_up()
        message = state.message if isinstance(state, Ended) else ""
        message = message or self._termination_message(pod, container, state)
        remove_volumes(self._volumes(pod))
        if phase_of(pod) == "Running" and not is_deleting(pod):
            # a kubelet tells the exit at once, and the Pod's end a second later
            await self._write_status(pod, exited_status(pod, state, message))
        await self._write_status(pod, ended_status(pod, state, message))

    def _termination_message(self, pod: Object, container: Container, state: Ended | Lost) -> str:
        try:
            text = (container.folder.parent / "termination-log").read_bytes()
        except FileNotFoundError:
            text = b""
        policy = pod["spec"]["containers"][0].get("terminationMessagePolicy")
        failed = isinstance(state, Ended) and state.exit_code != 0
        if not text and policy == "FallbackToLogsOnError" and failed:
            text = tail_of_log(container.log)
        return trim_message(text)

    async def _terminate(self, pod: Object) -> float | None:
        container = self._container(pod)
        state = container.state()
        if isinstance(state, Running):
            return self._stop(pod, container)
        if isinstance(state, Ended | Lost) and phase_of(pod) not in FINAL_PHASES:
            await self._finish(pod, container, state)
        self._forget(uid_of(pod))
        await self._kube.delete("Pod", name_of(pod), grace_seconds=0, uid=uid_of(pod))
        return None

    def _stop(self, pod: Object, container: Container) -> float | None:
        self._wait_for_end(pod, container)
        # for Pods the API writes the end of the grace period into deletionTimestamp, the fraction of the second cut off
        left = 1.0 - seconds_since(pod["metadata"]["deletionTimestamp"])
        if left <= 0:
            container.send_signal(signal.SIGKILL)
            return None
        if uid_of(pod) not in self._stopping:
            self._stopping.add(uid_of(pod))
            words = f"Stopping container {pod['spec']['containers'][0]['name']}"
            self._events.tell(pod, "Killing", words, component="kubelet")
            container.send_signal(signal.SIGTERM)
        return left

    def _wait_for_end(self, pod: Object, container: Container) -> None:
        uid, key = uid_of(pod), key_of(pod)
        if uid in self._waiting:
            return

        async def wait() -> None:
            await container.ended()
            self._queue.enqueue(key)

        task = asyncio.create_task(wait(), name=f"container of {name_of(pod)}")
        self._waiting[uid] = task
        task.add_done_callback(lambda _: self._waiting.pop(uid, None))

    async def _write_status(self, pod: Object, status: Object) -> None:
        try:
            self._pods.saw(await self._kube.patch("Pod", name_of(pod), {"status": status}, subresource="status"))
        except NotFound:
            log.debug("pod %s is gone, its status is not written", name_of(pod))

    def _forget(self, uid: str) -> None:
        self._stopping.discard(uid)
        folder = self._folder / uid
        if folder.exists():
            Container(folder / "container").clean_up()
            shutil.rmtree(folder, ignore_errors=True)

    def _container(self, pod: Object) -> Container:
        return Container(self._folder / uid_of(pod) / "container")

    def _volumes(self, pod: Object) -> Path:
        return self._folder / uid_of(pod) / "volumes"


def _refusal(pod: Object) -> str:
    """Why this Pod cannot run here, if it cannot."""
    containers = pod["spec"]["containers"]
    if pod["spec"].get("restartPolicy") != "Never":
        return "this node does not restart containers; set restartPolicy: Never"
    if len(containers) > 1 or pod["spec"].get("initContainers"):
        return "this node runs Pods of one container and no init containers"
    if not containers[0].get("command") and not containers[0].get("args"):
        return "the container needs a command: this node does not read images and so knows no entrypoint"
    return ""
