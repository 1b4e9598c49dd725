"""Pods and pod templates: defaults, the known fields, and the faults worth finding before a node does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import (
    Fault,
    duplicate,
    forbidden_value,
    invalid_value,
    not_found_value,
    required,
    unsupported,
)
from goldenpipe_local.api.names import check_label_name
from goldenpipe_local.api.rules.base import Rules, Unknown, prune_fields, words

_POD_FIELDS = words("""
    activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy
    enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname
    hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead preemptionPolicy
    priority priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName
    schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN
    shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints
    volumes workloadRef
""")
_CONTAINER_FIELDS = words("""
    args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe
    resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce
    terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir
""")
_CHANGEABLE = frozenset(["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"])
_CONTAINERS = ("initContainers", "containers")


class PodRules(Rules):
    """A Pod's spec hardly ever changes; its status belongs to the node."""

    def prune(self, obj: Object) -> Unknown:
        return prune_pod_spec("spec", obj.get("spec"))

    def apply_defaults(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("restartPolicy", "Always")
        spec.setdefault("enableServiceLinks", True)
        default_pod_spec(spec)

    def on_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": _quality_of_service(obj["spec"])}

    def check(self, obj: Object) -> Iterator[Fault]:
        yield from check_pod_spec("spec", obj["spec"])

    def check_change(self, old: Object, new: Object) -> Iterator[Fault]:
        if _fixed(old["spec"]) != _fixed(new["spec"]):
            words = (
                "pod updates may not change fields other than `spec.containers[*].image`,"
                "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
                "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
                "previously negative)"
            )
            yield forbidden_value("spec", words)


def _fixed(spec: Object) -> Object:
    fixed = {key: value for key, value in spec.items() if key not in _CHANGEABLE}
    for group in _CONTAINERS:
        if group in fixed:
            fixed[group] = [{**container, "image": ""} for container in fixed[group]]
    return fixed


def prune_pod_spec(path: str, spec: Any) -> Unknown:
    unknown = prune_fields(path, spec, _POD_FIELDS)
    for group in _CONTAINERS:
        for index, container in enumerate(_dicts(spec, group)):
            unknown += prune_fields(f"{path}.{group}[{index}]", container, _CONTAINER_FIELDS)
    return unknown


def default_pod_spec(spec: Object) -> None:
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    for group in _CONTAINERS:
        for container in _dicts(spec, group):
            container.setdefault("resources", {})
            container.setdefault("terminationMessagePath", "/dev/termination-log")
            container.setdefault("terminationMessagePolicy", "File")
            container.setdefault("imagePullPolicy", _pull_policy(container.get("image")))
    for volume in _dicts(spec, "volumes"):
        for source in ("secret", "configMap", "projected"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 0o644)


def _pull_policy(image: Any) -> str:
    name = str(image or "").rpartition("/")[2]
    _, _, tag = name.partition(":")
    return "Always" if "@" not in name and tag in {"", "latest"} else "IfNotPresent"


def check_pod_spec(path: str, spec: Any) -> Iterator[Fault]:
    if not isinstance(spec, dict):
        yield required(path)
        return
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    policies = ("Always", "OnFailure", "Never")
    if spec.get("restartPolicy") and spec["restartPolicy"] not in policies:
        yield unsupported(f"{path}.restartPolicy", spec["restartPolicy"], policies)
    if spec["terminationGracePeriodSeconds"] < 0:
        words = "must be greater than or equal to 0"
        yield invalid_value(f"{path}.terminationGracePeriodSeconds", spec["terminationGracePeriodSeconds"], words)
    yield from _check_volumes(path, spec)
    yield from _check_containers(path, spec)


def _check_volumes(path: str, spec: Object) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, volume in enumerate(_dicts(spec, "volumes")):
        here = f"{path}.volumes[{index}]"
        name = str(volume.get("name") or "")
        yield from check_label_name(f"{here}.name", name) if name else [required(f"{here}.name")]
        if name in seen:
            yield duplicate(f"{here}.name", name)
        if len(volume) == 1:
            yield required(here, "must specify a volume type")
        seen.add(name)


def _check_containers(path: str, spec: Object) -> Iterator[Fault]:
    volumes = {volume.get("name") for volume in _dicts(spec, "volumes")}
    seen: set[str] = set()
    for group in _CONTAINERS:
        for index, container in enumerate(_dicts(spec, group)):
            here = f"{path}.{group}[{index}]"
            name = str(container.get("name") or "")
            yield from check_label_name(f"{here}.name", name) if name else [required(f"{here}.name")]
            if name in seen:
                yield duplicate(f"{here}.name", name)
            seen.add(name)
            if not container.get("image"):
                yield required(f"{here}.image")
            yield from _check_mounts(here, container, volumes)
            for place, variable in enumerate(_dicts(container, "env")):
                if not variable.get("name"):
                    yield required(f"{here}.env[{place}].name")


def _check_mounts(path: str, container: Object, volumes: set[Any]) -> Iterator[Fault]:
    for index, mount in enumerate(_dicts(container, "volumeMounts")):
        here = f"{path}.volumeMounts[{index}]"
        if not mount.get("mountPath"):
            yield required(f"{here}.mountPath")
        if mount.get("name") not in volumes:
            yield not_found_value(f"{here}.name", str(mount.get("name") or ""))


def _quality_of_service(spec: Object) -> str:
    resources = [container.get("resources") or {} for container in _dicts(spec, "containers")]
    if not any(part.get("requests") or part.get("limits") for part in resources):
        return "BestEffort"
    fixed = all(
        part.get("limits") and part.get("requests", part["limits"]) == part["limits"] and len(part["limits"]) >= 2
        for part in resources
    )
    return "Guaranteed" if fixed else "Burstable"


def _dicts(parent: Any, field: str) -> list[Object]:
    """The objects in a list, whatever else a client may have put there."""
    items = parent.get(field) if isinstance(parent, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
