"""Create, change and delete as the real apiserver does it. Every method is one step: nothing comes in between."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from goldenpipe_kube import Object
from goldenpipe_local.api.clock import Clock, stamp, utc_now
from goldenpipe_local.api.deletion import DeleteOptions, Deletion, deletion_of, gone_at_last
from goldenpipe_local.api.errors import (
    Fault,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_value,
    not_found,
    required,
)
from goldenpipe_local.api.names import generated_name
from goldenpipe_local.api.resources import BY_KEY, Resource
from goldenpipe_local.api.rules import Unknown, rules_of
from goldenpipe_local.api.rules.base import check_finalizers_of_deleted, check_metadata
from goldenpipe_local.api.selectors import Selector
from goldenpipe_local.api.shapes import check_shape, telling_wrong_types
from goldenpipe_local.api.store import Store, Stored

_NAMESPACE = BY_KEY["namespaces"]
_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_STALE = "the object has been modified; please apply your changes to the latest version and try again"

Edit = Callable[[Object], Object]
"""Makes the wanted object of the current one; must not change what it is given."""


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """What the query of a write says."""

    dry_run: bool = False
    strict: bool = False
    """fieldValidation=Strict: unknown fields are an error, not a warning."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """The object after a write, and what the client should be warned of."""

    object: Object
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """The object as deletion found or left it."""

    object: Object
    lingers: bool
    """It is still there, waiting for its finalizers or its grace period."""


class Registry:
    """The one door through which objects are changed."""

    def __init__(self, store: Store, *, clock: Clock = utc_now) -> None:
        self.store = store
        self._clock = clock

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self.store.find(resource, (namespace, name))
        if stored is None:
            raise not_found(resource, name)
        return stored

    def create(self, resource: Resource, namespace: str, obj: Object, options: WriteOptions | None = None) -> Written:
        options = options or WriteOptions()
        check_shape(resource, namespace, obj)
        warnings = self._prune(resource, obj, options)
        metadata = obj["metadata"]
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise invalid(resource, "", [required("metadata.name", "name or generateName is required")])
            metadata["name"] = generated_name(metadata["generateName"])
        if metadata.get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise bad_request(message)
        self._check_namespace(resource, namespace, metadata["name"])
        if self.store.find(resource, (namespace, metadata["name"])):
            raise already_exists(resource, metadata["name"])
        self._set_identity(resource, obj)
        with telling_wrong_types(resource):
            self._complete(resource, obj)
        return Written(object=self._keep(resource, obj, options), warnings=warnings)

    def _set_identity(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        for field in _SERVER_OWNED:
            metadata.pop(field, None)
        metadata["uid"] = str(uuid4())
        metadata["creationTimestamp"] = stamp(self._clock())
        if resource.has_generation:
            metadata["generation"] = 1
        if resource.has_status:
            obj.pop("status", None)

    def _complete(self, resource: Resource, obj: Object) -> None:
        rules = rules_of(resource)
        rules.apply_defaults(obj)
        rules.on_create(obj)
        name = obj["metadata"]["name"]
        faults = [*rules.check_name(name), *check_metadata(obj), *rules.check(obj)]
        if faults:
            raise invalid(resource, name, faults)

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        wanted: Object,
        *,
        subresource: str = "",
        options: WriteOptions | None = None,
    ) -> Written:
        """Replace an object, or its status."""
        check_shape(resource, namespace, wanted)
        stated = wanted["metadata"].get("name")
        if stated and stated != name:
            message = f"the name of the object ({stated}) does not match the name on the URL ({name})"
            raise bad_request(message)
        if resource.custom and not wanted["metadata"].get("resourceVersion"):
            raise invalid(resource, name, [_version_missing()])
        uid, asked = self.get(resource, namespace, name).object["metadata"]["uid"], wanted["metadata"].get("uid")
        if asked and asked != uid:
            raise conflict(resource, name, _precondition_failed("UID", asked, uid))
        return self.edit(resource, namespace, name, lambda _: wanted, subresource=subresource, options=options)

    def edit(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        edit: Edit,
        *,
        subresource: str = "",
        options: WriteOptions | None = None,
    ) -> Written:
        """Change an object, or its status, by a function of what it is now."""
        options = options or WriteOptions()
        current = self.get(resource, namespace, name)
        wanted = copy.deepcopy(edit(current.object))
        check_shape(resource, namespace, wanted)
        warnings = self._prune(resource, wanted, options)
        self._check_preconditions(resource, current.object, wanted)
        if subresource == "status":
            new = {**current.object, "status": wanted.get("status") or {}}
            new["metadata"] = dict(current.object["metadata"])
            with telling_wrong_types(resource):
                faults = [*rules_of(resource).check_status(new)]
            if faults:
                raise invalid(resource, name, faults)
        else:
            with telling_wrong_types(resource):
                new = self._changed(resource, current.object, wanted)
        if _same(current.object, new):
            return Written(object=current.object, warnings=warnings)
        return Written(object=self._keep_or_remove(resource, current, new, options), warnings=warnings)

    def _check_preconditions(self, resource: Resource, current: Object, wanted: Object) -> None:
        name, asked, now = current["metadata"]["name"], wanted["metadata"], current["metadata"]
        if asked.get("resourceVersion") and asked["resourceVersion"] != now["resourceVersion"]:
            raise conflict(resource, name, _STALE)
        if asked.get("uid") and asked["uid"] != now["uid"]:
            raise invalid(resource, name, [invalid_value("metadata.uid", asked["uid"], "field is immutable")])

    def _changed(self, resource: Resource, current: Object, wanted: Object) -> Object:
        """The object that replaces the current one: what the client may not set is kept."""
        metadata = wanted["metadata"]
        for field in ("name", "namespace", *_SERVER_OWNED):
            if field in current["metadata"]:
                metadata[field] = current["metadata"][field]
            else:
                metadata.pop(field, None)
        if resource.has_status:
            wanted.pop("status", None)
            if "status" in current:
                wanted["status"] = current["status"]
        rules = rules_of(resource)
        rules.apply_defaults(wanted)
        faults = [
            *check_metadata(wanted),
            *check_finalizers_of_deleted(current, wanted),
            *rules.check(wanted),
            *rules.check_change(current, wanted),
        ]
        if faults:
            raise invalid(resource, metadata["name"], faults)
        if resource.has_generation and _counted(resource, current) != _counted(resource, wanted):
            metadata["generation"] = current["metadata"].get("generation", 0) + 1
        return wanted

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        delete: DeleteOptions | None = None,
        options: WriteOptions | None = None,
    ) -> Deleted:
        options, delete = options or WriteOptions(), delete or DeleteOptions()
        current = self.get(resource, namespace, name)
        metadata = current.object["metadata"]
        if delete.uid and delete.uid != metadata["uid"]:
            raise conflict(resource, name, _precondition_failed("UID", delete.uid, metadata["uid"]))
        if delete.resource_version and delete.resource_version != metadata["resourceVersion"]:
            why = _precondition_failed("ResourceVersion", delete.resource_version, metadata["resourceVersion"])
            raise conflict(resource, name, why)
        if resource.kind == "Namespace":
            return self._delete_namespace(current, options)
        return self._delete(resource, current, deletion_of(resource, current.object, delete, self._clock()), options)

    def _delete(self, resource: Resource, current: Stored, deletion: Deletion, options: WriteOptions) -> Deleted:
        if options.dry_run:
            return Deleted(object=deletion.object, lingers=not deletion.at_once)
        if not _same(current.object, deletion.object):
            current = self.store.put(resource, deletion.object)
        if deletion.at_once:
            current = self.store.remove(resource, current)
        return Deleted(object=current.object, lingers=not deletion.at_once)

    def _delete_namespace(self, current: Stored, options: WriteOptions) -> Deleted:
        # the collector empties it, then removes it
        metadata = dict(current.object["metadata"])
        metadata.setdefault("deletionTimestamp", stamp(self._clock()))
        new = {**current.object, "metadata": metadata, "status": {"phase": "Terminating"}}
        if not options.dry_run and not _same(current.object, new):
            new = self.store.put(_NAMESPACE, new).object
        return Deleted(object=new, lingers=True)

    def delete_collection(
        self, resource: Resource, selector: Selector, delete: DeleteOptions, options: WriteOptions
    ) -> list[Object]:
        deleted: list[Object] = []
        for stored in self.store.select(resource, selector):
            metadata = stored.object["metadata"]
            namespace, name = metadata.get("namespace", ""), metadata["name"]
            deleted.append(self.delete(resource, namespace, name, delete, options).object)
        return deleted

    def remove(self, resource: Resource, stored: Stored) -> None:
        """Take an object away with no questions asked; for the server's own parts."""
        self.store.remove(resource, stored)

    def overwrite(self, resource: Resource, obj: Object) -> None:
        """Keep an object with no questions asked; for the server's own parts."""
        self.store.put(resource, obj)

    def _keep(self, resource: Resource, obj: Object, options: WriteOptions) -> Object:
        return obj if options.dry_run else self.store.put(resource, obj).object

    def _keep_or_remove(self, resource: Resource, current: Stored, new: Object, options: WriteOptions) -> Object:
        if options.dry_run or not gone_at_last(current.object, new):
            return self._keep(resource, new, options)
        # its last finalizer is gone: this was all it waited for; watches are told what was kept last
        self.store.remove(resource, current)
        return new

    def _prune(self, resource: Resource, obj: Object, options: WriteOptions) -> tuple[str, ...]:
        unknown: Unknown = rules_of(resource).prune(obj)
        if unknown and options.strict:
            words = ", ".join(f'unknown field "{path}"' for path in unknown)
            message = (
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"strict decoding error: {words}"
            )
            raise bad_request(message)
        return tuple(f'unknown field "{path}"' for path in unknown)

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self.store.find(_NAMESPACE, ("", namespace))
        if found is None:
            raise not_found(_NAMESPACE, namespace)
        if found.object["metadata"].get("deletionTimestamp"):
            words = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource, name, words)


def _version_missing() -> Fault:
    return invalid_value("metadata.resourceVersion", 0, "must be specified for an update")


def _precondition_failed(what: str, asked: str, now: str) -> str:
    return f"Precondition failed: {what} in precondition: {asked}, {what} in object meta: {now}"


def _counted(resource: Resource, obj: Object) -> Object:
    """The part of an object whose changes generation counts."""
    if not resource.custom:
        return {"spec": obj.get("spec")}
    skipped = {"metadata", "status"} if resource.has_status else {"metadata"}
    return {key: value for key, value in obj.items() if key not in skipped}


def _same(old: Object, new: Object) -> bool:
    """Whether a write changes nothing; such a write gets no new resourceVersion."""

    def comparable(obj: Object) -> Object:
        metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
        return {**obj, "metadata": metadata}

    return comparable(old) == comparable(new)
