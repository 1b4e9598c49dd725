"""Label and field selectors: parsed once, then asked of every object or event."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import ApiError, bad_request
from goldenpipe_local.api.resources import Resource

_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
    ),
    "events": (
        *(f"involvedObject.{name}" for name in _INVOLVED),
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "jobs.batch": ("status.successful",),
}
_PLAIN = frozenset(["configmaps", "serviceaccounts", "persistentvolumeclaims", "leases.coordination.k8s.io"])
"""Kinds that have the two fields that all have, and words of their own for it."""
_ALIASES = {"status.successful": "status.succeeded", "source": "source.component"}
_TERM = re.compile(
    r"""\s*(?:
        !\s*(?P<absent>[\w./-]+)
      | (?P<set_key>[\w./-]+)\s+(?P<set_op>in|notin)\s*\((?P<values>[^()]*)\)
      | (?P<key>[\w./-]+)\s*(?P<op>==|=|!=)\s*(?P<value>[\w./-]*)
      | (?P<number_key>[\w./-]+)\s*(?P<number_op>[<>])\s*(?P<number>-?\d+)
      | (?P<present>[\w./-]+)
    )\s*(?:,|$)""",
    re.VERBOSE,
)

Labels = Mapping[str, str]
Term = Callable[[Labels], bool]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What selectors may ask of an object, kept apart so that history need not hold whole objects."""

    namespace: str
    labels: Labels
    fields: Labels

    def as_json(self) -> Object:
        return {"namespace": self.namespace, "labels": dict(self.labels), "fields": dict(self.fields)}

    @classmethod
    def from_json(cls, value: Object) -> Facts:
        return cls(namespace=value["namespace"], labels=value["labels"], fields=value["fields"])


def facts_of(resource: Resource, obj: Object) -> Facts:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    fields = {"metadata.name": metadata["name"], "metadata.namespace": namespace}
    for path in _FIELDS.get(resource.key, ()):
        fields[path] = _look_up(obj, _ALIASES.get(path, path))
    return Facts(namespace=namespace, labels=metadata.get("labels") or {}, fields=fields)


def _look_up(obj: Object, path: str) -> str:
    value: object = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


@dataclass(frozen=True, kw_only=True)
class Selector:
    """A namespace (or all), labels and fields, all of which must match."""

    namespace: str | None = None
    labels: tuple[Term, ...] = ()
    fields: tuple[Term, ...] = field(default=())

    def matches(self, facts: Facts) -> bool:
        if self.namespace is not None and facts.namespace != self.namespace:
            return False
        return all(term(facts.labels) for term in self.labels) and all(term(facts.fields) for term in self.fields)


def parse_selector(resource: Resource, namespace: str | None, labels: str, fields: str) -> Selector:
    return Selector(namespace=namespace, labels=parse_labels(labels), fields=_parse_fields(resource, fields))


def parse_labels(text: str) -> tuple[Term, ...]:
    terms: list[Term] = []
    position = 0
    while text[position:].strip():
        match = _TERM.match(text, position)
        if match is None:
            raise _unparsable(text, position)
        terms.append(_term(match))
        position = match.end()
    return tuple(terms)


def _term(match: re.Match[str]) -> Term:
    part = match.groupdict()
    if part["absent"]:
        return _absent(part["absent"])
    if part["present"]:
        return _present(part["present"])
    if part["set_key"]:
        values = frozenset(value.strip() for value in part["values"].split(","))
        return _within(part["set_key"], values) if part["set_op"] == "in" else _without(part["set_key"], values)
    if part["number_key"]:
        return _compare(part["number_key"], part["number_op"], int(part["number"]))
    values = frozenset([part["value"]])
    return _without(part["key"], values) if part["op"] == "!=" else _within(part["key"], values)


def _present(key: str) -> Term:
    return lambda labels: key in labels


def _absent(key: str) -> Term:
    return lambda labels: key not in labels


def _within(key: str, values: frozenset[str]) -> Term:
    return lambda labels: key in labels and labels[key] in values


def _without(key: str, values: frozenset[str]) -> Term:
    return lambda labels: labels.get(key) not in values


def _compare(key: str, operator: str, bound: int) -> Term:
    def holds(labels: Labels) -> bool:
        try:
            value = int(labels.get(key, ""))
        except ValueError:
            return False
        return value > bound if operator == ">" else value < bound

    return holds


def _unparsable(text: str, position: int) -> ApiError:
    return bad_request(f"unable to parse requirement: found '{text[position:].strip()}' in selector '{text}'")


def _unknown_field(resource: Resource, key: str) -> ApiError:
    if resource.key == "jobs.batch":
        return bad_request(f'field label "{key}" not supported for Job')
    if resource.key in _PLAIN:
        return bad_request(f'"{key}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    return bad_request(f"field label not supported: {key}")


def _parse_fields(resource: Resource, text: str) -> tuple[Term, ...]:
    known = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.key, ()))
    terms: list[Term] = []
    for requirement in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([\w.]+)\s*(==|=|!=)\s*(.*)", requirement)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{requirement}'")
        key, operator, value = match.groups()
        if key not in known:
            raise _unknown_field(resource, key)
        values = frozenset([value])
        terms.append(_without(key, values) if operator == "!=" else _within(key, values))
    return tuple(terms)
