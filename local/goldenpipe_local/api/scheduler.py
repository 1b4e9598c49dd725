"""The scheduler: a Pod without a node gets one that is ready."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from goldenpipe_kube import Object
from goldenpipe_local.api.background import Worker
from goldenpipe_local.api.clock import stamp, utc_now
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.resources import BY_KEY
from goldenpipe_local.api.selectors import Selector
from goldenpipe_local.api.store import Change, Key, Stored, key_of

_PODS, _NODES, _EVENTS = BY_KEY["pods"], BY_KEY["nodes"], BY_KEY["events"]
_ENDED = ("Succeeded", "Failed")


def scheduler(registry: Registry) -> Worker:
    """The scheduler, to be entered while the server runs."""
    schedule = Scheduler(registry)
    return Worker(registry.store, name="scheduler", work=schedule.work, concerns=schedule.note)


class Scheduler:
    """Keeps the set of Pods that wait for a node."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._waiting: dict[Key, None] = {}
        for stored in registry.store.select(_PODS, Selector()):
            self._follow(stored.object)

    def note(self, change: Change) -> bool:
        """Follow one change; True if a Pod might find its node now."""
        if change.resource == _PODS.key:
            self._waiting.pop(key_of(change.after.object), None)
            return change.type != "DELETED" and self._follow(change.after.object)
        return change.resource == _NODES.key and bool(self._waiting)

    def _follow(self, pod: Object) -> bool:
        phase = (pod.get("status") or {}).get("phase")
        if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp") or phase in _ENDED:
            return False
        self._waiting[key_of(pod)] = None
        return True

    def work(self) -> None:
        nodes = self._registry.store.select(_NODES, Selector())
        ready = [node.object["metadata"]["name"] for node in nodes if _is_ready(node.object)]
        for key in list(self._waiting):
            pod = self._registry.store.find(_PODS, key)
            if pod is None:
                del self._waiting[key]
            elif ready:
                bind(self._registry, pod, ready[0])
            else:
                _tell_waiting(self._registry, pod, len(nodes))


def bind(registry: Registry, pod: Stored, node: str) -> None:
    """Give a Pod its node, which nobody can change after."""
    now = utc_now()
    condition = {"type": "PodScheduled", "status": "True"}
    spec = {**pod.object["spec"], "nodeName": node}
    registry.overwrite(_PODS, {**with_condition(pod.object, condition, now), "spec": spec})
    metadata = pod.object["metadata"]
    message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node}"
    _tell(registry, pod.object, "Normal", "Scheduled", message, now)


def _tell_waiting(registry: Registry, pod: Stored, nodes: int) -> None:
    conditions = (pod.object.get("status") or {}).get("conditions") or []
    if any(item["type"] == "PodScheduled" and item.get("reason") == "Unschedulable" for item in conditions):
        return
    now = utc_now()
    message = f"0/{nodes} nodes are available: the node agent is not ready yet."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    registry.overwrite(_PODS, with_condition(pod.object, condition, now))
    _tell(registry, pod.object, "Warning", "FailedScheduling", message, now)


def with_condition(pod: Object, condition: Object, now: datetime) -> Object:
    """The Pod with this condition in the place of the one of its type."""
    status = pod.get("status") or {}
    others = [item for item in status.get("conditions") or [] if item["type"] != condition["type"]]
    stamped = {**condition, "lastProbeTime": None, "lastTransitionTime": stamp(now)}
    return {**pod, "metadata": dict(pod["metadata"]), "status": {**status, "conditions": [*others, stamped]}}


def _tell(registry: Registry, pod: Object, kind: str, reason: str, message: str, now: datetime) -> None:
    metadata = pod["metadata"]
    event = {
        "metadata": {"name": f"{metadata['name']}.{uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "reason": reason,
        "message": message,
        "type": kind,
        "action": "Binding",
        "source": {},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "firstTimestamp": None,
        "lastTimestamp": None,
        "reportingComponent": "default-scheduler",
        "reportingInstance": "default-scheduler",
    }
    registry.create(_EVENTS, metadata["namespace"], event)


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")
