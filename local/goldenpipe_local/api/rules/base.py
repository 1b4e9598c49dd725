"""The rules that hold for every kind, and the shape of those that hold for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import Fault, forbidden_value, invalid_value, required
from goldenpipe_local.api.names import check_annotations, check_labels, check_subdomain

Unknown = list[str]
"""Paths of fields that the schema does not know."""

PROPAGATIONS = ("Background", "Foreground", "Orphan")


class Rules:
    """Defaults and validation of one kind; the general ones are those of a custom resource without a schema."""

    default_propagation = "Background"

    def prune(self, obj: Object) -> Unknown:
        """Take out the fields that the kind does not have, and name them."""
        del obj
        return []

    def apply_defaults(self, obj: Object) -> None:
        """Fill in, in place, what the client left out."""

    def on_create(self, obj: Object) -> None:
        """Set, in place, what the server alone decides when an object is made."""

    def check_name(self, name: str) -> Iterator[Fault]:
        yield from check_subdomain("metadata.name", name)

    def check(self, obj: Object) -> Iterator[Fault]:
        """Faults of the object itself."""
        del obj
        return iter(())

    def check_change(self, old: Object, new: Object) -> Iterator[Fault]:
        """Faults of a change of everything but status."""
        del old, new
        return iter(())

    def check_status(self, obj: Object) -> Iterator[Fault]:
        """Faults of a status that a client wrote."""
        del obj
        return iter(())


def check_metadata(obj: Object) -> Iterator[Fault]:
    metadata = obj["metadata"]
    yield from check_labels("metadata.labels", metadata.get("labels") or {})
    yield from check_annotations("metadata.annotations", metadata.get("annotations") or {})
    for index, finalizer in enumerate(metadata.get("finalizers") or []):
        if not isinstance(finalizer, str) or not finalizer:
            yield invalid_value(f"metadata.finalizers[{index}]", finalizer, "must be a name")
    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not isinstance(owner, dict) or not owner.get(field):
                yield required(f"metadata.ownerReferences[{index}].{field}", "must not be empty")


def check_finalizers_of_deleted(old: Object, new: Object) -> Iterator[Fault]:
    """An object that is being deleted gets no new finalizers."""
    if not old["metadata"].get("deletionTimestamp"):
        return
    before = set(old["metadata"].get("finalizers") or [])
    added = [name for name in new["metadata"].get("finalizers") or [] if name not in before]
    if added:
        words = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
        yield forbidden_value("metadata.finalizers", words)


def check_immutable(path: str, old: Any, new: Any) -> Iterator[Fault]:
    if old != new:
        yield Fault(path=path, reason="FieldValueInvalid", message="Invalid value: field is immutable")


def words(text: str) -> frozenset[str]:
    """Field names, written down with blanks between them."""
    return frozenset(text.split())


def prune_fields(path: str, value: Any, known: Iterable[str]) -> Unknown:
    """Take the unknown fields out of an object; name their paths."""
    if not isinstance(value, dict):
        return []
    unknown = [key for key in value if key not in known]
    for key in unknown:
        del value[key]
    return [f"{path}.{key}" if path else key for key in unknown]
