"""Is a body an object of its kind at all? The real server finds out when it decodes; here there are only dicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import ApiError, bad_request
from goldenpipe_local.api.resources import Resource


class NotDecodable(ApiError):
    """A body that is no object of its kind."""


_OBJECTS = ("spec", "status")
_TEXTS = ("name", "namespace", "generateName", "resourceVersion", "uid")
_LISTS = ("finalizers", "ownerReferences")
_DROPPED = ("managedFields", "selfLink")


def check_shape(resource: Resource, namespace: str, obj: Any) -> None:
    """Check the frame that all kinds share, and fill in, in place, what the path says already."""
    if not isinstance(obj, dict):
        raise _not_decodable(resource, "the body is no object")
    _check_kind(resource, obj)
    metadata = obj.setdefault("metadata", {})
    _check_type(resource, "metadata", metadata, dict)
    for field in _OBJECTS:
        _check_type(resource, field, obj.get(field) or {}, dict)
    for field in _TEXTS:
        _check_type(resource, f"metadata.{field}", metadata.get(field) or "", str)
    for field in _LISTS:
        _check_type(resource, f"metadata.{field}", metadata.get(field) or [], list)
    for field in _DROPPED:
        metadata.pop(field, None)
    _set_namespace(metadata, namespace)


def _check_kind(resource: Resource, obj: Object) -> None:
    """Kind and apiVersion may be left out, as on the real server, but not be others."""
    api_version = obj.setdefault("apiVersion", resource.api_version)
    kind = obj.setdefault("kind", resource.kind)
    if (api_version, kind) != (resource.api_version, resource.kind):
        message = (
            f"the API version in the data ({api_version}, Kind={kind}) does not match the expected API version "
            f"({resource.api_version}, Kind={resource.kind})"
        )
        raise bad_request(message)


def _check_type(resource: Resource, path: str, value: Any, expected: type) -> None:
    if not isinstance(value, expected):
        raise _not_decodable(resource, f"{path} has the wrong type")


def _set_namespace(metadata: Object, namespace: str) -> None:
    stated = metadata.get("namespace") or ""
    if stated and stated != namespace:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(message)
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


@contextmanager
def telling_wrong_types(resource: Resource) -> Iterator[None]:
    """The rules read fields as what they ought to be; a field of another type is the client's mistake."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise _not_decodable(resource, f"a field has the wrong type: {error}") from error


def _not_decodable(resource: Resource, why: str) -> NotDecodable:
    kind, version = resource.kind, resource.version
    message = f'{kind} in version "{version}" cannot be handled as a {kind}: {why}'
    return NotDecodable(400, "BadRequest", message)
