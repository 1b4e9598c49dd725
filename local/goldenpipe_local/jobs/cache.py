"""What the controller knows: Jobs and Pods as the watches told them, with its own writes put in at once."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from goldenpipe_kube import Object

_TOMBSTONES = 1000


class Cache:
    """Objects of one kind by uid; an older version never replaces a newer one."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._by_owner: defaultdict[str, set[str]] = defaultdict(set)
        self._gone: OrderedDict[str, None] = OrderedDict()

    def put(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        known = self._objects.get(uid)
        if uid in self._gone or (known is not None and _version(known) >= _version(obj)):
            return
        self._objects[uid] = obj
        owner = controller_of(obj)
        if owner is not None:
            self._by_owner[owner].add(uid)

    def remove(self, obj: Object) -> None:
        """Forget an object for good: answers that were under way do not bring it back."""
        uid = obj["metadata"]["uid"]
        self._objects.pop(uid, None)
        owner = controller_of(obj)
        if owner is not None:
            self._by_owner[owner].discard(uid)
            if not self._by_owner[owner]:
                del self._by_owner[owner]
        self._gone[uid] = None
        while len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def keep_only(self, items: Iterable[Object]) -> list[Object]:
        """After a complete list: forget, and return, what vanished while nobody watched."""
        listed = {item["metadata"]["uid"] for item in items}
        vanished = [obj for uid, obj in self._objects.items() if uid not in listed]
        for obj in vanished:
            self.remove(obj)
        return vanished

    def get(self, uid: str) -> Object | None:
        return self._objects.get(uid)

    def owned_by(self, uid: str) -> list[Object]:
        """What this owner controls, oldest first."""
        owned = [self._objects[name] for name in self._by_owner.get(uid, ())]
        return sorted(owned, key=lambda obj: (obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]))


def controller_of(obj: Object) -> str | None:
    """The uid of the object's controller."""
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
