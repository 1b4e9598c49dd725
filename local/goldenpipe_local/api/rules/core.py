"""Secrets, ConfigMaps, claims, namespaces and the other small kinds of the core group."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import Fault, forbidden_value, invalid_value, required
from goldenpipe_local.api.names import check_file_key, check_label_name
from goldenpipe_local.api.rules.base import Rules, check_immutable

_LARGEST_DATA = 1024 * 1024


class SecretRules(Rules):
    """stringData becomes data; keys are file names; at most 1 MiB."""

    def apply_defaults(self, obj: Object) -> None:
        obj.setdefault("type", "Opaque")
        plain = obj.pop("stringData", None)
        if isinstance(plain, dict) and all(isinstance(value, str) for value in plain.values()):
            coded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
            obj["data"] = {**(obj.get("data") or {}), **coded}
        elif plain is not None:
            # left where it was for `check` to find
            obj["stringData"] = plain

    def check(self, obj: Object) -> Iterator[Fault]:
        if "stringData" in obj:
            yield invalid_value("stringData", "", "must be a map of strings to strings")
        data = obj.get("data") or {}
        if not isinstance(data, dict):
            yield invalid_value("data", "", "must be a map of strings to base64 strings")
            return
        total = 0
        for key, value in data.items():
            yield from check_file_key(f"data[{key}]", key)
            try:
                total += len(base64.b64decode(value, validate=True))
            except (binascii.Error, TypeError, ValueError):
                yield invalid_value(f"data[{key}]", "<value omitted>", "illegal base64 data")
        if total > _LARGEST_DATA:
            yield _too_long("data")

    def check_change(self, old: Object, new: Object) -> Iterator[Fault]:
        yield from check_immutable("type", old.get("type"), new.get("type"))
        yield from _check_sealed(old, new, ("data",))


class ConfigMapRules(Rules):
    """Keys are file names, in data or in binaryData but not in both; at most 1 MiB."""

    def check(self, obj: Object) -> Iterator[Fault]:
        total = 0
        for field in ("data", "binaryData"):
            values = obj.get(field) or {}
            if not isinstance(values, dict):
                yield invalid_value(field, "", "must be a map")
                continue
            for key, value in values.items():
                path = f"{field}[{key}]"
                yield from check_file_key(path, key)
                if not isinstance(value, str):
                    yield invalid_value(path, value, "must be a string")
                    continue
                total += len(value.encode())
                if field == "binaryData" and key in (obj.get("data") or {}):
                    yield invalid_value(path, key, "duplicate of key present in data")
        if total > _LARGEST_DATA:
            yield _too_long("")

    def check_change(self, old: Object, new: Object) -> Iterator[Fault]:
        yield from _check_sealed(old, new, ("data", "binaryData"))


def _check_sealed(old: Object, new: Object, fields: tuple[str, ...]) -> Iterator[Fault]:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden_value("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if old.get(field) != new.get(field):
            yield forbidden_value(field, "field is immutable when `immutable` is set")


def _too_long(path: str) -> Fault:
    message = f"Too long: may not be more than {_LARGEST_DATA} bytes"
    return Fault(path=path, reason="FieldValueTooLong", message=message)


class NamespaceRules(Rules):
    """A namespace is Active until it is deleted; its contents go before it."""

    def on_create(self, obj: Object) -> None:
        labels = obj["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}

    def check_name(self, name: str) -> Iterator[Fault]:
        yield from check_label_name("metadata.name", name)


class NodeRules(Rules):
    """A node is what its kubelet says."""

    def on_create(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        obj.setdefault("status", {})


class ServiceRules(Rules):
    """There is no service network here: a Service keeps its spec and nothing listens."""

    def apply_defaults(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        for port in spec.get("ports") or []:
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))

    def on_create(self, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}

    def check_name(self, name: str) -> Iterator[Fault]:
        yield from check_label_name("metadata.name", name)


class PersistentVolumeClaimRules(Rules):
    """A claim asks for access modes and a size, which it cannot change to less."""

    def apply_defaults(self, obj: Object) -> None:
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")

    def on_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending"}

    def check(self, obj: Object) -> Iterator[Fault]:
        spec = obj["spec"]
        if not spec.get("accessModes"):
            yield required("spec.accessModes", "at least 1 access mode is required")
        if not _storage_of(spec):
            yield required("spec.resources[storage]")

    def check_change(self, old: Object, new: Object) -> Iterator[Fault]:
        def fixed(obj: Object) -> Object:
            return {key: value for key, value in obj["spec"].items() if key not in {"resources", "volumeName"}}

        if fixed(old) != fixed(new):
            words = "spec is immutable after creation except resources.requests and volumeAttributesClassName"
            yield forbidden_value("spec", f"{words} for bound claims")


def _storage_of(spec: Object) -> Any:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


class EventRules(Rules):
    """An event lies in the namespace of the object it is about."""

    def check(self, obj: Object) -> Iterator[Fault]:
        about = obj.get("involvedObject") or {}
        if not isinstance(about, dict):
            yield required("involvedObject")
            return
        namespace = about.get("namespace") or "default"
        if namespace != obj["metadata"].get("namespace"):
            yield invalid_value("involvedObject.namespace", namespace, "does not match event.namespace")


class LeaseRules(Rules):
    """A lease lasts for some time, and has changed hands some times or never."""

    def check(self, obj: Object) -> Iterator[Fault]:
        spec = obj.get("spec") or {}
        for field, least, words in (
            ("leaseDurationSeconds", 1, "must be greater than 0"),
            ("leaseTransitions", 0, "must be greater than or equal to 0"),
        ):
            if spec.get(field) is not None and spec[field] < least:
                yield invalid_value(f"spec.{field}", spec[field], words)
