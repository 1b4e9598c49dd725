"""The status of a Pod, as a kubelet writes it: a pure function of what the container did."""

from __future__ import annotations

from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.node.objects import condition, conditions_of, merge_conditions, now, uid_of
from goldenpipe_local.node.pods.container import Ended, Lost, Running

HOST = "127.0.0.1"
LONGEST_MESSAGE = 4096
"""Bytes of a termination message."""


def creating_status(pod: Object, *, reason: str = "ContainerCreating", message: str = "") -> Object:
    waiting = {"reason": reason, **({"message": message} if message else {})}
    return _status(pod, "Pending", {"waiting": waiting}, ready=False, why="ContainersNotReady")


def running_status(pod: Object, state: Running) -> Object:
    return _status(pod, "Running", {"running": {"startedAt": _seconds(state.started_at)}}, ready=True)


def ended_status(pod: Object, state: Ended | Lost, message: str) -> Object:
    terminated = _terminated(pod, state, message)
    phase = "Failed" if terminated["exitCode"] else "Succeeded"
    status = _status(pod, phase, {"terminated": terminated}, ready=False, why=_why_ended(terminated))
    torn_down = merge_conditions(status["conditions"], [condition("PodReadyToStartContainers", False)])
    return {**status, "conditions": [{**each, "lastProbeTime": None} for each in torn_down]}


def exited_status(pod: Object, state: Ended | Lost, message: str) -> Object:
    """The container has ended, and its Pod is still to be taken down."""
    terminated = _terminated(pod, state, message)
    return _status(pod, "Running", {"terminated": terminated}, ready=False, why=_why_ended(terminated))


def refused_status(pod: Object, reason: str, message: str) -> Object:
    """The Pod asks for what this node cannot do; nothing was started."""
    status = _status(pod, "Failed", {"waiting": {"reason": reason, "message": message}}, ready=False, why="PodFailed")
    return {**status, "reason": reason, "message": message}


def trim_message(text: bytes) -> str:
    return text[:LONGEST_MESSAGE].decode(errors="replace")


def _why_ended(terminated: Object) -> str:
    return "PodFailed" if terminated["exitCode"] else "PodCompleted"


def _terminated(pod: Object, state: Ended | Lost, message: str) -> Object:
    if isinstance(state, Lost):
        return {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": _seconds(state.started_at),
            "finishedAt": now(),
            "containerID": _container_id(pod),
        }
    terminated: dict[str, Any] = {
        "exitCode": state.exit_code,
        "reason": state.reason,
        "startedAt": _seconds(state.started_at),
        "finishedAt": _seconds(state.finished_at),
        "containerID": _container_id(pod),
    }
    if message:
        terminated["message"] = message
    return terminated


def _status(pod: Object, phase: str, state: Object, *, ready: bool, why: str = "") -> Object:
    container = pod["spec"]["containers"][0]
    started = "waiting" not in state
    document: Object = {
        "phase": phase,
        "conditions": _conditions(pod, ready=ready, started=started, why=why),
        "hostIP": HOST,
        "hostIPs": [{"ip": HOST}],
        "startTime": (pod.get("status") or {}).get("startTime") or now(),
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": 0,
                "state": state,
                "lastState": {},
                **({"containerID": _container_id(pod)} if started else {}),
            }
        ],
    }
    if started:
        document |= {"podIP": HOST, "podIPs": [{"ip": HOST}]}
    return document


def _conditions(pod: Object, *, ready: bool, started: bool, why: str) -> list[Object]:
    name = pod["spec"]["containers"][0]["name"]
    words = f"containers with unready status: [{name}]" if why == "ContainersNotReady" else ""
    new = [
        condition("PodReadyToStartContainers", started),
        condition("Initialized", True, why if why == "PodCompleted" else ""),
        condition("Ready", ready, why, words),
        condition("ContainersReady", ready, why, words),
        condition("PodScheduled", True),
    ]
    merged = merge_conditions(conditions_of(pod), new)
    return [{**each, "lastProbeTime": None} for each in merged]


def _container_id(pod: Object) -> str:
    return f"goldenpipe://{uid_of(pod)}"


def _seconds(stamp: str) -> str:
    return f"{stamp[:19]}Z"
