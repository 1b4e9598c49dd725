"""All objects in memory, every change first in the database, then told to those who listen."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Literal, cast

from goldenpipe_kube import Object
from goldenpipe_local.api.database import Database, Row
from goldenpipe_local.api.errors import expired, too_large_version
from goldenpipe_local.api.resources import BY_KEY, Resource
from goldenpipe_local.api.selectors import Facts, Selector, facts_of

HISTORY = 5000
"""Changes that are remembered: a watcher that lags further behind has to list again (410)."""

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Key = tuple[str, str]
"""Namespace (empty for cluster-wide objects) and name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An object as it is kept. Nobody may change `object`: it is shared by all readers."""

    object: Object
    raw: bytes
    facts: Facts
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change, with what selectors need to know about the state before it."""

    type: ChangeType
    resource: str
    version: int
    after: Stored
    before: Facts | None

    def seen_by(self, selector: Selector) -> ChangeType | None:
        """What a watcher with this selector is told: an object that stops matching is deleted for it."""
        was = self.before is not None and selector.matches(self.before)
        if self.type == "DELETED":
            return "DELETED" if was else None
        if selector.matches(self.after.facts):
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else None


Listener = Callable[[Change], None]


def encode(obj: Object) -> bytes:
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Store:
    """Objects by resource and key, one increasing version for all of them."""

    def __init__(self, database: Database, *, history: int = HISTORY) -> None:
        self._database = database
        self._limit = history
        self._objects: dict[str, dict[Key, Stored]] = {key: {} for key in BY_KEY}
        self._history: deque[Change] = deque()
        self._listeners: list[Listener] = []
        self._version = 0
        self._load()

    @property
    def version(self) -> int:
        """The resourceVersion of the newest change."""
        return self._version

    def _load(self) -> None:
        for key, body in self._database.objects():
            stored = _stored(BY_KEY[key], body)
            self._objects[key][key_of(stored.object)] = stored
        for row in self._database.history():
            before = Facts.from_json(json.loads(row.before)) if row.before else None
            after = _stored(BY_KEY[row.resource], row.body)
            kind = cast("ChangeType", row.type)
            change = Change(type=kind, resource=row.resource, version=row.version, after=after, before=before)
            self._history.append(change)
            self._version = row.version
        self._forget()

    def _forget(self) -> None:
        while len(self._history) > self._limit:
            self._history.popleft()

    def find(self, resource: Resource, key: Key) -> Stored | None:
        return self._objects[resource.key].get(key)

    def select(self, resource: Resource, selector: Selector) -> list[Stored]:
        """The matching objects, by namespace and name."""
        kept = self._objects[resource.key]
        if selector.namespace is not None and len(selector.fields) == 0 and len(selector.labels) == 0:
            keys = sorted(key for key in kept if key[0] == selector.namespace)
            return [kept[key] for key in keys]
        return [kept[key] for key in sorted(kept) if selector.matches(kept[key].facts)]

    def everything(self) -> Iterator[tuple[Resource, Stored]]:
        for key, kept in self._objects.items():
            for stored in list(kept.values()):
                yield BY_KEY[key], stored

    def put(self, resource: Resource, obj: Object) -> Stored:
        """Keep this object under a new resourceVersion; the object is the store's from here on."""
        existing = self.find(resource, key_of(obj))
        return self._commit("MODIFIED" if existing else "ADDED", resource, obj, existing)

    def remove(self, resource: Resource, existing: Stored) -> Stored:
        last = {**existing.object, "metadata": dict(existing.object["metadata"])}
        return self._commit("DELETED", resource, last, existing)

    def _commit(self, kind: ChangeType, resource: Resource, obj: Object, existing: Stored | None) -> Stored:
        version = self._version + 1
        obj["metadata"]["resourceVersion"] = str(version)
        after = Stored(object=obj, raw=encode(obj), facts=facts_of(resource, obj), version=version)
        before = existing.facts if existing else None
        change = Change(type=kind, resource=resource.key, version=version, after=after, before=before)
        self._make_durable(change)
        self._version = version
        self._history.append(change)
        self._forget()
        if kind == "DELETED":
            del self._objects[resource.key][key_of(obj)]
        else:
            self._objects[resource.key][key_of(obj)] = after
        for listener in list(self._listeners):
            listener(change)
        return after

    def _make_durable(self, change: Change) -> None:
        namespace, name = key_of(change.after.object)
        row = Row(
            version=change.version,
            type=change.type,
            resource=change.resource,
            namespace=namespace,
            name=name,
            body=change.after.raw,
            before=json.dumps(change.before.as_json()) if change.before else None,
        )
        self._database.write(row, forget_up_to=change.version - self._limit)

    def changes_since(self, resource: Resource, version: int) -> list[Change]:
        """What happened to a resource after a version; `Expired` if that is no longer known."""
        if version > self._version:
            raise too_large_version(version, self._version)
        oldest = self._history[0].version if self._history else 1
        if version < oldest - 1:
            raise expired(f"too old resource version: {version} ({oldest - 1})")
        # versions have no gaps, so the place of the first unseen change is known
        unseen = islice(self._history, version - oldest + 1, None)
        return [change for change in unseen if change.resource == resource.key]

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Call `listener` for every change, at once and in order; it must be quick and must not write."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


def _stored(resource: Resource, body: bytes) -> Stored:
    obj = json.loads(body)
    version = int(obj["metadata"]["resourceVersion"])
    return Stored(object=obj, raw=body, facts=facts_of(resource, obj), version=version)
