"""The three patch formats: JSON merge patch, JSON patch and Kubernetes' strategic merge patch.

The strategic one merges lists by key where Kubernetes does; the keys of the lists that the served kinds have are
written down here, because there are no typed structs to read them from.
"""

from __future__ import annotations

import copy
from typing import Any, cast

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import ApiError, bad_request

_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "conditions": ("type",),
    "addresses": ("type",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ownerReferences": ("uid",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "ports": ("containerPort", "port"),
}
_MERGED_SETS = frozenset(["finalizers"])
_DIRECTIVE = "$patch"
_DELETE_PREFIX = "$deleteFromPrimitiveList/"
_ORDER_PREFIX = "$setElementOrder/"
_RETAIN = "$retainKeys"


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386; the arguments are left as they are."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_merge_patch(target: Any, patch: Object) -> Object:
    if patch.get(_DIRECTIVE) == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if patch.get(_DIRECTIVE) == "delete":
        return {}
    result: Object = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith(_DELETE_PREFIX):
            field = key.removeprefix(_DELETE_PREFIX)
            result[field] = [item for item in result.get(field) or [] if item not in value]
        elif not key.startswith("$"):
            _merge_field(result, key, value)
    if _RETAIN in patch:
        result = {key: value for key, value in result.items() if key in patch[_RETAIN]}
    for key, order in patch.items():
        if key.startswith(_ORDER_PREFIX):
            _set_order(result, key.removeprefix(_ORDER_PREFIX), order)
    return result


def _merge_field(result: Object, key: str, value: Any) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        result[key] = strategic_merge_patch(result.get(key), value)
    elif isinstance(value, list):
        result[key] = _merge_list(key, result.get(key) or [], value)
    else:
        result[key] = value


def _merge_list(field: str, target: list[Any], patch: list[Any]) -> list[Any]:
    if field in _MERGED_SETS:
        return target + [item for item in patch if item not in target]
    key = _key_of_list(field, patch)
    if key is None or any(item.get(_DIRECTIVE) == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if item != {_DIRECTIVE: "replace"}]
    result = list(target)
    for item in patch:
        place = next((index for index, kept in enumerate(result) if kept.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            result = [kept for kept in result if kept.get(key) != item[key]]
        elif place is None:
            result.append(strategic_merge_patch({}, item))
        else:
            result[place] = strategic_merge_patch(result[place], item)
    return result


def _key_of_list(field: str, items: list[Any]) -> str | None:
    """The key by which a list is merged; None for a list that is replaced as a whole."""
    if not all(isinstance(item, dict) for item in items):
        return None
    keyed = [item for item in items if item != {_DIRECTIVE: "replace"}]
    for key in _MERGE_KEYS.get(field, ()):
        if all(key in item for item in keyed):
            return key
    return None


def _set_order(result: Object, field: str, order: list[Any]) -> None:
    items = result.get(field)
    if not isinstance(items, list):
        return
    key = _key_of_list(field, order)

    def name(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [name(item) for item in order]
    listed = sorted((item for item in items if name(item) in wanted), key=lambda item: wanted.index(name(item)))
    # what the patch does not mention stays behind what it does
    result[field] = listed + [item for item in items if name(item) not in wanted]


def json_patch(target: Object, operations: Any) -> Object:
    """RFC 6902."""
    if not isinstance(operations, list):
        message = "a JSON patch is a list of operations"
        raise bad_request(message)
    result: Any = copy.deepcopy(target)
    for operation in operations:
        result = _apply(result, operation)
    return cast("Object", result)


def _apply(document: Any, operation: Any) -> Any:
    try:
        action, path = operation["op"], _pointer(operation["path"])
        if action == "test":
            if _read(document, path) != operation["value"]:
                raise _unprocessable(f"testing path {operation['path']} value failed")
            return document
        if action == "remove":
            return _remove(document, path)
        if action == "replace":
            _read(document, path)
            return _write(_remove(document, path) if path else document, path, operation["value"])
        if action == "add":
            return _write(document, path, operation["value"])
        if action in {"move", "copy"}:
            source = _pointer(operation["from"])
            value = copy.deepcopy(_read(document, source))
            return _write(_remove(document, source) if action == "move" else document, path, value)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        message = f"the JSON patch operation {operation} does not fit the object: {error}"
        raise _unprocessable(message) from error
    message = f"unexpected kind of JSON patch operation: {action}"
    raise bad_request(message)


def _pointer(path: str) -> list[str]:
    if path and not path.startswith("/"):
        message = f"{path} is no JSON pointer"
        raise ValueError(message)
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _read(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _remove(document: Any, path: list[str]) -> Any:
    parent = _read(document, path[:-1])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
    return document


def _write(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _read(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        parent[last] = value
    return document


def _unprocessable(message: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {message}", {})
