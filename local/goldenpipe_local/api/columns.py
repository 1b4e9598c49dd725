"""The printer columns of each resource, as kubectl shows them on a real cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.api.clock import utc_now


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its title, what it shows, and whether only `-o wide` shows it."""

    name: str
    cell: Callable[[Object], Any]
    wide: bool = False

    def definition(self) -> Object:
        return {
            "name": self.name,
            "type": "string",
            "format": "name" if self.name == "Name" else "",
            "description": "",
            "priority": int(self.wide),
        }


def age(moment: str | None, *, now: datetime | None = None) -> str:
    """How long ago, in the words of kubectl."""
    return human_duration(_seconds_between(moment, now or utc_now())) if moment else "<unknown>"


def human_duration(seconds: float) -> str:
    """`45s`, `5m30s`, `3h12m`, `2d4h`, `20d`: as kubectl rounds it, finer while the number is small."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two_units(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _two_units(days // 365, "y", days % 365 if days < 2920 else 0, "d")


def _two_units(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def _seconds_between(start: str, end: datetime) -> float:
    return (end - parse_time(start)).total_seconds()


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def _at(*path: str, default: Any = "") -> Callable[[Object], Any]:
    def cell(obj: Object) -> Any:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value

    return cell


def _condition(kind: str) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        conditions = (obj.get("status") or {}).get("conditions") or []
        return next((str(item.get("status")) for item in conditions if item.get("type") == kind), "")

    return cell


def _age_of(obj: Object) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def _count(*fields: str) -> Callable[[Object], str]:
    return lambda obj: str(sum(len(obj.get(field) or ()) for field in fields))


def _map_text(values: Object | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or "<none>"


def _statuses(pod: Object) -> list[Object]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _pod_ready(pod: Object) -> str:
    ready = sum(1 for status in _statuses(pod) if status.get("ready"))
    return f"{ready}/{len(pod['spec'].get('containers') or [])}"


def _pod_status(pod: Object) -> str:
    status = pod.get("status") or {}
    shown = status.get("reason") or status.get("phase") or "Unknown"
    for container in reversed(_statuses(pod)):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason"):
            shown = waiting["reason"]
        elif ended.get("reason"):
            shown = ended["reason"]
        elif ended:
            shown = f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode')}"
    return "Terminating" if pod["metadata"].get("deletionTimestamp") else str(shown)


def _restarts(pod: Object) -> str:
    return str(sum(status.get("restartCount", 0) for status in _statuses(pod)))


def _job_status(job: Object) -> str:
    conditions = (job.get("status") or {}).get("conditions") or []
    true = {item["type"] for item in conditions if item.get("status") == "True"}
    for kind in ("Complete", "Failed"):
        if kind in true:
            return kind
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if kind in true:
            return kind
    return "Running"


def _job_completions(job: Object) -> str:
    return f"{(job.get('status') or {}).get('succeeded') or 0}/{job['spec'].get('completions') or 1}"


def _job_duration(job: Object) -> str:
    status = job.get("status") or {}
    if not status.get("startTime"):
        return ""
    end = status.get("completionTime")
    return human_duration(_seconds_between(status["startTime"], parse_time(end) if end else utc_now()))


def _of_template(field: str) -> Callable[[Object], str]:
    return lambda job: ",".join(item.get(field, "") for item in job["spec"]["template"]["spec"]["containers"])


def _address(kind: str) -> Callable[[Object], str]:
    def cell(node: Object) -> str:
        addresses = (node.get("status") or {}).get("addresses") or []
        return next((item["address"] for item in addresses if item.get("type") == kind), "<none>")

    return cell


def _node_status(node: Object) -> str:
    ready = {"True": "Ready", "False": "NotReady"}.get(_condition("Ready")(node), "Unknown")
    return f"{ready},SchedulingDisabled" if node["spec"].get("unschedulable") else ready


def _node_roles(node: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _access_modes(claim: Object) -> str:
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    modes = (claim.get("status") or {}).get("accessModes") or []
    return ",".join(short.get(mode, mode) for mode in modes)


def _claim_status(claim: Object) -> str:
    terminating = claim["metadata"].get("deletionTimestamp")
    return "Terminating" if terminating else str((claim.get("status") or {}).get("phase", ""))


def _event_object(event: Object) -> str:
    about = event.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_last_seen(event: Object) -> str:
    series = event.get("series") or {}
    moment = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    count, first = event.get("count") or 1, event.get("firstTimestamp") or event.get("eventTime")
    return f"{age(moment)} (x{count} over {age(first)})" if count > 1 else age(moment)


def _ports(service: Object) -> str:
    ports = service["spec"].get("ports") or []
    return ",".join(f"{port.get('port')}/{port.get('protocol')}" for port in ports) or "<none>"


def _vmi_address(machine: Object) -> str:
    interfaces = (machine.get("status") or {}).get("interfaces") or [{}]
    return str(interfaces[0].get("ipAddress") or "")


_NAME = Column(name="Name", cell=lambda obj: obj["metadata"]["name"])
_AGE = Column(name="Age", cell=_age_of)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "namespaces": (_NAME, Column(name="Status", cell=_at("status", "phase")), _AGE),
    "nodes": (
        _NAME,
        Column(name="Status", cell=_node_status),
        Column(name="Roles", cell=_node_roles),
        _AGE,
        Column(name="Version", cell=_at("status", "nodeInfo", "kubeletVersion")),
        Column(name="Internal-IP", cell=_address("InternalIP"), wide=True),
        Column(name="External-IP", cell=_address("ExternalIP"), wide=True),
        Column(name="OS-Image", cell=_at("status", "nodeInfo", "osImage", default="<unknown>"), wide=True),
        Column(name="Kernel-Version", cell=_at("status", "nodeInfo", "kernelVersion"), wide=True),
        Column(name="Container-Runtime", cell=_at("status", "nodeInfo", "containerRuntimeVersion"), wide=True),
    ),
    "pods": (
        _NAME,
        Column(name="Ready", cell=_pod_ready),
        Column(name="Status", cell=_pod_status),
        Column(name="Restarts", cell=_restarts),
        _AGE,
        Column(name="IP", cell=_at("status", "podIP", default="<none>"), wide=True),
        Column(name="Node", cell=_at("spec", "nodeName", default="<none>"), wide=True),
        Column(name="Nominated Node", cell=_at("status", "nominatedNodeName", default="<none>"), wide=True),
        Column(name="Readiness Gates", cell=lambda _: "<none>", wide=True),
    ),
    "secrets": (
        _NAME,
        Column(name="Type", cell=_at("type")),
        Column(name="Data", cell=_count("data")),
        _AGE,
    ),
    "configmaps": (_NAME, Column(name="Data", cell=_count("data", "binaryData")), _AGE),
    "serviceaccounts": (_NAME, Column(name="Secrets", cell=_count("secrets")), _AGE),
    "services": (
        _NAME,
        Column(name="Type", cell=_at("spec", "type")),
        Column(name="Cluster-IP", cell=_at("spec", "clusterIP", default="<none>")),
        Column(name="External-IP", cell=lambda _: "<none>"),
        Column(name="Port(s)", cell=_ports),
        _AGE,
        Column(name="Selector", cell=lambda obj: _map_text(obj["spec"].get("selector")), wide=True),
    ),
    "persistentvolumeclaims": (
        _NAME,
        Column(name="Status", cell=_claim_status),
        Column(name="Volume", cell=_at("spec", "volumeName")),
        Column(name="Capacity", cell=_at("status", "capacity", "storage")),
        Column(name="Access Modes", cell=_access_modes),
        Column(name="StorageClass", cell=_at("spec", "storageClassName")),
        Column(name="VolumeAttributesClass", cell=lambda _: "<unset>"),
        _AGE,
        Column(name="VolumeMode", cell=_at("spec", "volumeMode"), wide=True),
    ),
    "events": (
        Column(name="Last Seen", cell=_event_last_seen),
        Column(name="Type", cell=_at("type")),
        Column(name="Reason", cell=_at("reason")),
        Column(name="Object", cell=_event_object),
        Column(name="Subobject", cell=_at("involvedObject", "fieldPath"), wide=True),
        Column(name="Source", cell=_at("source", "component"), wide=True),
        Column(name="Message", cell=lambda obj: str(obj.get("message") or "").strip()),
        Column(
            name="First Seen",
            cell=lambda obj: age(obj.get("firstTimestamp") or obj.get("eventTime")),
            wide=True,
        ),
        Column(name="Count", cell=lambda obj: str(obj.get("count") or 1), wide=True),
        Column(name="Name", cell=_NAME.cell, wide=True),
    ),
    "jobs.batch": (
        _NAME,
        Column(name="Status", cell=_job_status),
        Column(name="Completions", cell=_job_completions),
        Column(name="Duration", cell=_job_duration),
        _AGE,
        Column(name="Containers", cell=_of_template("name"), wide=True),
        Column(name="Images", cell=_of_template("image"), wide=True),
        Column(
            name="Selector",
            cell=lambda obj: _map_text((obj["spec"].get("selector") or {}).get("matchLabels")),
            wide=True,
        ),
    ),
    "leases.coordination.k8s.io": (_NAME, Column(name="Holder", cell=_at("spec", "holderIdentity")), _AGE),
    "datavolumes.cdi.kubevirt.io": (
        _NAME,
        Column(name="Phase", cell=_at("status", "phase")),
        Column(name="Progress", cell=_at("status", "progress")),
        Column(name="Restarts", cell=lambda obj: str((obj.get("status") or {}).get("restartCount") or "")),
        _AGE,
    ),
    "virtualmachines.kubevirt.io": (
        _NAME,
        _AGE,
        Column(name="Status", cell=_at("status", "printableStatus")),
        Column(name="Ready", cell=_condition("Ready")),
    ),
    "virtualmachineinstances.kubevirt.io": (
        _NAME,
        _AGE,
        Column(name="Phase", cell=_at("status", "phase")),
        Column(name="IP", cell=_vmi_address),
        Column(name="NodeName", cell=_at("status", "nodeName")),
        Column(name="Ready", cell=_condition("Ready")),
        Column(name="Live-Migratable", cell=_condition("LiveMigratable"), wide=True),
        Column(name="Paused", cell=_condition("Paused"), wide=True),
    ),
    "virtualmachineexports.export.kubevirt.io": (
        _NAME,
        Column(name="SourceKind", cell=_at("spec", "source", "kind")),
        Column(name="SourceName", cell=_at("spec", "source", "name")),
        Column(name="Phase", cell=_at("status", "phase")),
    ),
}
GENERAL_COLUMNS: tuple[Column, ...] = (_NAME, _AGE)
