"""podFailurePolicy: what the failure of a Pod means for its Job. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from goldenpipe_kube import Object
from goldenpipe_local.jobs.pods import ended_containers


@dataclass(frozen=True, kw_only=True)
class Match:
    """The first rule that fits; `action` None where there is none."""

    action: Literal["FailJob", "Ignore", "Count"] | None = None
    message: str = ""


NO_MATCH = Match()


def match_policy(job: Object, pod: Object) -> Match:
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or []
    for index, rule in enumerate(rules):
        what = _fits(rule, pod)
        if what is not None:
            return Match(action=rule["action"], message=f"{what} matching {rule['action']} rule at index {index}")
    return NO_MATCH


def _fits(rule: Object, pod: Object) -> str | None:
    if rule.get("onExitCodes"):
        return _fits_exit_codes(rule["onExitCodes"], pod)
    return _fits_conditions(rule.get("onPodConditions") or [], pod)


def _fits_exit_codes(pattern: Object, pod: Object) -> str | None:
    for name, ended in ended_containers(pod):
        code = ended.get("exitCode", 0)
        if code == 0 or pattern.get("containerName") not in {None, name}:
            continue
        if (code in pattern["values"]) == (pattern["operator"] == "In"):
            return f"Container {name} for pod {_full_name(pod)} failed with exit code {code}"
    return None


def _fits_conditions(patterns: list[Object], pod: Object) -> str | None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    for pattern in patterns:
        wanted = pattern["type"], pattern.get("status", "True")
        if any((condition["type"], condition["status"]) == wanted for condition in conditions):
            return f"Pod {_full_name(pod)} has condition {pattern['type']}"
    return None


def _full_name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
