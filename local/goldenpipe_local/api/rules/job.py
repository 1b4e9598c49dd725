"""Jobs: defaults, labels and selector from the uid, and validation of what the Job controller relies on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import Fault, invalid_value, required, unsupported
from goldenpipe_local.api.names import check_annotations, check_labels, check_subdomain
from goldenpipe_local.api.rules.base import Rules, Unknown, check_immutable, prune_fields, words
from goldenpipe_local.api.rules.pod import check_pod_spec, default_pod_spec, prune_pod_spec

_JOB_FIELDS = words("""
    activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy
    manualSelector maxFailedIndexes parallelism podFailurePolicy podReplacementPolicy scheduling
    selector successPolicy suspend template ttlSecondsAfterFinished
""")
_NEEDED_COUNTS = ("parallelism", "completions", "backoffLimit")
_OTHER_COUNTS = ("activeDeadlineSeconds", "ttlSecondsAfterFinished")
_STATUS_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_FIXED = ("completions", "selector", "completionMode", "podFailurePolicy")
_ACTIONS = ("FailJob", "Ignore", "Count", "FailIndex")


class JobRules(Rules):
    """As batch/v1 has it."""

    # kept by the real API for old clients: only who asks for it has the Pods deleted with the Job
    default_propagation = "Orphan"

    def prune(self, obj: Object) -> Unknown:
        spec = obj.get("spec")
        unknown = prune_fields("spec", spec, _JOB_FIELDS)
        template = spec.get("template") if isinstance(spec, dict) else None
        unknown += prune_fields("spec.template", template, ("metadata", "spec"))
        if isinstance(template, dict):
            unknown += prune_pod_spec("spec.template.spec", template.get("spec"))
        return unknown

    def apply_defaults(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for field in ("parallelism", "completions"):
            spec.setdefault(field, 1)
        spec.setdefault("backoffLimit", 6)
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        spec.setdefault("manualSelector", False)
        replacement = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
        spec.setdefault("podReplacementPolicy", replacement)
        for rule in _rules(spec):
            for pattern in rule.get("onPodConditions") or []:
                pattern.setdefault("status", "True")
        template = spec.setdefault("template", {})
        default_pod_spec(template.setdefault("spec", {}))

    def on_create(self, obj: Object) -> None:
        metadata, spec = obj["metadata"], obj["spec"]
        own = {
            "batch.kubernetes.io/controller-uid": metadata["uid"],
            "batch.kubernetes.io/job-name": metadata["name"],
            "controller-uid": metadata["uid"],
            "job-name": metadata["name"],
        }
        template = spec["template"].setdefault("metadata", {})
        template["labels"] = {**(template.get("labels") or {}), **own}
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}
        if not metadata.get("labels"):
            metadata["labels"] = dict(template["labels"])
        obj["status"] = {}

    def check_name(self, name: str) -> Iterator[Fault]:
        # Pods carry the name in a label
        yield from check_subdomain("metadata.name", name, longest=63)

    def check(self, obj: Object) -> Iterator[Fault]:
        spec = obj["spec"]
        for field in (*_NEEDED_COUNTS, *_OTHER_COUNTS):
            yield from _check_count(f"spec.{field}", spec.get(field), needed=field in _NEEDED_COUNTS)
        template = spec["template"]
        inherited = template.get("metadata") or {}
        yield from check_labels("spec.template.labels", inherited.get("labels") or {})
        yield from check_annotations("spec.template.annotations", inherited.get("annotations") or {})
        yield from check_pod_spec("spec.template.spec", template["spec"])
        policy = template["spec"].get("restartPolicy")
        if policy not in {"OnFailure", "Never"}:
            supported = ("OnFailure", "Never")
            path = "spec.template.spec.restartPolicy"
            words = 'valid values: "OnFailure", "Never"'
            # "Always" may be a default, and so nobody's word
            yield required(path, words) if policy in {None, "", "Always"} else unsupported(path, policy, supported)
        yield from _check_policy(spec, policy)

    def check_change(self, old: Object, new: Object) -> Iterator[Fault]:
        for field in _FIXED:
            yield from check_immutable(f"spec.{field}", old["spec"].get(field), new["spec"].get(field))
        suspended = old["spec"].get("suspend") and not (old.get("status") or {}).get("startTime")
        if not suspended:
            yield from check_immutable("spec.template", old["spec"]["template"], new["spec"]["template"])

    def check_status(self, obj: Object) -> Iterator[Fault]:
        status = obj["status"]
        for field in _STATUS_COUNTS:
            yield from _check_count(f"status.{field}", status.get(field), needed=False)
        active, ready = status.get("active") or 0, status.get("ready") or 0
        if ready > active:
            yield invalid_value("status.ready", ready, "cannot set more ready pods than active")
        yield from _check_end(status)


def _rules(spec: Any) -> list[Object]:
    policy = spec.get("podFailurePolicy")
    rules = policy.get("rules") if isinstance(policy, dict) else None
    return [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []


def _check_count(path: str, value: Any, *, needed: bool) -> Iterator[Fault]:
    if value is None and not needed:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        yield invalid_value(path, value, "must be an integer")
    elif value < 0:
        yield invalid_value(path, value, "must be greater than or equal to 0")


def _check_end(status: Object) -> Iterator[Fault]:
    """The conditions of the end come in their order."""
    true = {item.get("type") for item in status.get("conditions") or [] if item.get("status") == "True"}
    for end, before in (("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")):
        if end in true and before not in true:
            words = f"cannot set {end}=True condition without the {before}=true condition"
            yield invalid_value("status.conditions", "", words)
    if "Complete" in true and not status.get("completionTime"):
        yield required("status.completionTime", "completionTime is required for Complete jobs")
    if "Complete" not in true and status.get("completionTime"):
        words = "cannot set completionTime when there is no Complete=True condition"
        yield invalid_value("status.completionTime", status["completionTime"], words)


def _check_policy(spec: Object, restart_policy: Any) -> Iterator[Fault]:
    path = "spec.podFailurePolicy"
    if "podFailurePolicy" not in spec:
        return
    if restart_policy != "Never":
        words = 'only "Never" is supported when podFailurePolicy is specified'
        yield invalid_value("spec.template.spec.restartPolicy", restart_policy or "", words)
    if not isinstance(spec["podFailurePolicy"], dict) or "rules" not in spec["podFailurePolicy"]:
        yield required(f"{path}.rules")
    containers = {container.get("name") for container in spec["template"]["spec"].get("containers") or []}
    for index, rule in enumerate(_rules(spec)):
        yield from _check_rule(f"{path}.rules[{index}]", rule, containers)


def _check_rule(path: str, rule: Object, containers: set[Any]) -> Iterator[Fault]:
    if rule.get("action") not in _ACTIONS:
        yield unsupported(f"{path}.action", rule.get("action"), _ACTIONS)
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
    if bool(codes) == bool(conditions):
        words = "specifying one of OnExitCodes and OnPodConditions is required"
        yield invalid_value(path, "", words)
    if isinstance(codes, dict):
        yield from _check_codes(f"{path}.onExitCodes", codes, containers)
    for index, pattern in enumerate(conditions or []):
        if not pattern.get("type"):
            yield required(f"{path}.onPodConditions[{index}].type")


def _check_codes(path: str, codes: Object, containers: set[Any]) -> Iterator[Fault]:
    operators = ("In", "NotIn")
    if codes.get("operator") not in operators:
        yield unsupported(f"{path}.operator", codes.get("operator"), operators)
    name, values = codes.get("containerName"), codes.get("values")
    if name is not None and name not in containers:
        words = "must be one of the container or initContainer names in the pod template"
        yield invalid_value(f"{path}.containerName", name, words)
    if not isinstance(values, list) or not values or not all(isinstance(value, int) for value in values):
        yield invalid_value(f"{path}.values", "", "at least one value is required, all of them integers")
    elif codes.get("operator") == "In" and 0 in values:
        yield invalid_value(f"{path}.values[{values.index(0)}]", 0, "must not be 0 for the In operator")
    elif values != sorted(set(values)):
        yield invalid_value(f"{path}.values", "", "must be ordered")
