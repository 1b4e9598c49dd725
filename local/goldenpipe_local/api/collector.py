"""The garbage collector: dependents go with their owners, namespaces with all that is in them.

It knows who owns what by an index that follows every change, so one change costs one look at what it touches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from goldenpipe_kube import Object
from goldenpipe_local.api.background import Worker
from goldenpipe_local.api.deletion import FOREGROUND, ORPHAN, DeleteOptions
from goldenpipe_local.api.errors import ApiError
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.resources import BY_KEY, Resource
from goldenpipe_local.api.selectors import Selector
from goldenpipe_local.api.store import Change, Key, Stored, key_of

Place = tuple[str, Key]
"""A resource's key and an object's."""


def collector(registry: Registry) -> Worker:
    """The collector, to be entered while the server runs."""
    collect = Collector(registry)
    return Worker(registry.store, name="garbage collector", work=collect.work, concerns=collect.note)


class Collector:
    """Keeps the index and a set of places to look at."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._places: dict[str, Place] = {}
        self._dependents: defaultdict[str, set[Place]] = defaultdict(set)
        self._queue: dict[Place, None] = {}
        for resource, stored in registry.store.everything():
            self._index(resource, stored.object)
            self._queue[resource.key, key_of(stored.object)] = None

    def note(self, change: Change) -> bool:
        """Follow one change; True if there is something to look at."""
        resource, obj = BY_KEY[change.resource], change.after.object
        if change.type == "DELETED":
            self._forget(resource, obj)
        else:
            self._index(resource, obj)
            if _owners(obj) or obj["metadata"].get("deletionTimestamp"):
                self._queue[resource.key, key_of(obj)] = None
        return bool(self._queue)

    def _index(self, resource: Resource, obj: Object) -> None:
        place = resource.key, key_of(obj)
        self._places[obj["metadata"]["uid"]] = place
        for owner in _owners(obj):
            self._dependents[owner["uid"]].add(place)

    def _forget(self, resource: Resource, obj: Object) -> None:
        uid, place = obj["metadata"]["uid"], (resource.key, key_of(obj))
        self._places.pop(uid, None)
        self._queue.update(dict.fromkeys(self._dependents.pop(uid, ())))
        for owner in _owners(obj):
            self._dependents[owner["uid"]].discard(place)
            if owner["uid"] in self._places:
                self._queue[self._places[owner["uid"]]] = None
        namespace = "namespaces", ("", obj["metadata"].get("namespace", ""))
        self._queue[namespace] = None

    def work(self) -> None:
        while self._queue:
            place = next(iter(self._queue))
            del self._queue[place]
            resource = BY_KEY[place[0]]
            stored = self._registry.store.find(resource, place[1])
            if stored is not None:
                self._look_at(resource, stored)

    def _look_at(self, resource: Resource, stored: Stored) -> None:
        metadata = stored.object["metadata"]
        finalizers = metadata.get("finalizers") or []
        if not metadata.get("deletionTimestamp"):
            self._collect_if_ownerless(resource, stored)
        elif resource.kind == "Namespace":
            self._empty(stored)
        elif ORPHAN in finalizers:
            self._orphan_dependents(metadata["uid"])
            self._take_finalizer(resource, stored, ORPHAN)
        elif FOREGROUND in finalizers and not self._delete_dependents(metadata["uid"]):
            self._take_finalizer(resource, stored, FOREGROUND)

    def _collect_if_ownerless(self, resource: Resource, stored: Stored) -> None:
        owners = _owners(stored.object)
        if owners and not any(owner["uid"] in self._places for owner in owners):
            self._delete(resource, stored, "Background")

    def _delete_dependents(self, uid: str) -> bool:
        """Delete what an object owns; False if nothing is left that keeps the owner."""
        waiting = False
        for resource, stored in self._dependents_of(uid):
            owner = next(owner for owner in _owners(stored.object) if owner["uid"] == uid)
            others = [other for other in _owners(stored.object) if other["uid"] != uid]
            if any(other["uid"] in self._places for other in others):
                continue
            if not stored.object["metadata"].get("deletionTimestamp"):
                uid_of_dependent = stored.object["metadata"]["uid"]
                nested = self._dependents.get(uid_of_dependent)
                self._delete(resource, stored, "Foreground" if nested else "Background")
            still_there = self._registry.store.find(resource, key_of(stored.object)) is not None
            waiting = waiting or (still_there and bool(owner.get("blockOwnerDeletion")))
        return waiting

    def _orphan_dependents(self, uid: str) -> None:
        for resource, stored in self._dependents_of(uid):
            kept = [owner for owner in _owners(stored.object) if owner["uid"] != uid]
            self._set_metadata(resource, stored, "ownerReferences", kept)
        self._dependents.pop(uid, None)

    def _dependents_of(self, uid: str) -> list[tuple[Resource, Stored]]:
        found: list[tuple[Resource, Stored]] = []
        for key, place in sorted(self._dependents.get(uid, ())):
            stored = self._registry.store.find(BY_KEY[key], place)
            if stored is not None and any(owner["uid"] == uid for owner in _owners(stored.object)):
                found.append((BY_KEY[key], stored))
        return found

    def _empty(self, namespace: Stored) -> None:
        """Delete what is in a namespace, and the namespace with the last of it."""
        name = namespace.object["metadata"]["name"]
        contents = [
            (resource, stored)
            for resource in BY_KEY.values()
            if resource.namespaced
            for stored in self._registry.store.select(resource, Selector(namespace=name))
        ]
        for resource, stored in contents:
            if not stored.object["metadata"].get("deletionTimestamp"):
                self._delete(resource, stored, "Background")
        if not any(self._registry.store.find(resource, key_of(stored.object)) for resource, stored in contents):
            self._registry.remove(BY_KEY["namespaces"], namespace)

    def _delete(self, resource: Resource, stored: Stored, propagation: str) -> None:
        metadata = stored.object["metadata"]
        options = DeleteOptions(propagation=propagation, uid=metadata["uid"])
        try:
            self._registry.delete(resource, metadata.get("namespace", ""), metadata["name"], options)
        except ApiError as error:
            # gone, or another object of that name by now
            if error.code not in {404, 409}:
                raise

    def _take_finalizer(self, resource: Resource, stored: Stored, finalizer: str) -> None:
        current = self._registry.store.find(resource, key_of(stored.object))
        if current is not None:
            kept = [name for name in current.object["metadata"].get("finalizers") or [] if name != finalizer]
            self._set_metadata(resource, current, "finalizers", kept)

    def _set_metadata(self, resource: Resource, stored: Stored, field: str, values: Sequence[object]) -> None:
        metadata = stored.object["metadata"]

        def edit(current: Object) -> Object:
            changed = {key: value for key, value in current["metadata"].items() if key != field}
            return {**current, "metadata": {**changed, field: list(values)} if values else changed}

        self._registry.edit(resource, metadata.get("namespace", ""), metadata["name"], edit)


def _owners(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []
