"""What service accounts asked of the API server, as its audit log has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_kube import Object

Right = tuple[str, str, str]
"""API group, resource (with its subresource), verb."""
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
  - {level: Metadata, userGroups: ["system:serviceaccounts"]}
"""
_FORBIDDEN = 403


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The rights that an account has made use of, and those that it wanted and did not have."""

    used: frozenset[Right]
    refused: frozenset[Right]


def asked(log: Path, namespace: str, account: str) -> Asked:
    """By this service account, so far."""
    user = f"system:serviceaccount:{namespace}:{account}"
    entries = [entry for entry in _entries(log) if entry["user"]["username"] == user]
    refused = {_right(entry) for entry in entries if _is_refused(entry)}
    used = {_right(entry) for entry in entries if not _is_refused(entry)}
    return Asked(used=frozenset(used), refused=frozenset(refused))


def rights_in(role: Object) -> set[Right]:
    """All that a Role grants."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _entries(log: Path) -> Iterator[Object]:
    """Of requests for objects; the last line may not be whole yet."""
    for line in log.read_text().splitlines(keepends=True):
        if line.endswith("\n") and "resource" in (entry := json.loads(line)).get("objectRef", {}):
            yield entry


def _is_refused(entry: Object) -> bool:
    """By the authorizer; admission says 403 too."""
    forbidden = entry["annotations"].get("authorization.k8s.io/decision") == "forbid"
    return forbidden and entry.get("responseStatus", {}).get("code") == _FORBIDDEN


def _right(entry: Object) -> Right:
    place = entry["objectRef"]
    resource = "/".join(part for part in (place["resource"], place.get("subresource")) if part)
    return place.get("apiGroup", ""), resource, entry["verb"]
