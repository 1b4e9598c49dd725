"""What is served, told in the ways that clients ask: versions, groups, resources, minimal OpenAPI."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from goldenpipe_kube import Object
from goldenpipe_local.api.resources import RESOURCES, Resource

VERSION = "1.36.0"
"""The Kubernetes release whose behaviour this server keeps to."""
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_STATUS_VERBS = ("get", "patch", "update")
_ACTIONS = ("start", "stop", "restart")


def document(path: str, address: str) -> Object | None:
    """The discovery document at a path; None where the path is none of discovery's."""
    fixed: dict[str, Object] = {
        "/version": version(),
        "/api": api_versions(address),
        "/apis": group_list(),
        "/openapi/v2": openapi_v2(),
        "/openapi/v3": openapi_v3_index(),
    }
    if path in fixed:
        return fixed[path]
    match path.split("/")[1:]:
        case ["api", number]:
            return resource_list("", number)
        case ["apis", group]:
            return one_group(group)
        case ["apis", group, number]:
            return resource_list(group, number)
        case ["openapi", "v3", *root]:
            return openapi_v3("/".join(root))
        case _:
            return None


def version() -> Object:
    major, minor, _ = VERSION.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{VERSION}+goldenpipe",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": f"linux/{platform.machine()}",
    }


def api_versions(address: str) -> Object:
    by_client = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address.partition("://")[2]}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": by_client}


def group_list() -> Object:
    groups = [_group(api_version) for api_version in _group_versions() if "/" in api_version]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def one_group(name: str) -> Object | None:
    for api_version in _group_versions():
        if api_version.partition("/")[0] == name and "/" in api_version:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(api_version)}
    return None


def _group_versions() -> list[str]:
    return list(dict.fromkeys(resource.api_version for resource in RESOURCES))


def _group(api_version: str) -> Object:
    group, _, number = api_version.partition("/")
    entry = {"groupVersion": api_version, "version": number}
    return {"name": group, "versions": [entry], "preferredVersion": entry}


def resource_list(group: str, number: str) -> Object | None:
    """The resources of one group and version; None where there are none."""
    served = [resource for resource in RESOURCES if (resource.group, resource.version) == (group, number)]
    if not served:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": [entry for resource in served for entry in _entries(resource)],
    }


def _entries(resource: Resource) -> Iterable[Object]:
    main: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(_VERBS) if resource.can_watch else ["create"],
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.kind in _IN_ALL:
        main["categories"] = ["all"]
    yield main
    if resource.has_status:
        yield _sub(resource, "status", resource.kind, _STATUS_VERBS)
    if resource.kind == "Pod":
        yield _sub(resource, "log", "Pod", ("get",))
        yield _sub(resource, "binding", "Binding", ("create",))
        eviction = _sub(resource, "eviction", "Eviction", ("create",))
        yield {**eviction, "group": "policy", "version": "v1"}


_IN_ALL = frozenset(
    [
        "Pod",
        "Service",
        "Job",
        "DataVolume",
        "VirtualMachine",
        "VirtualMachineInstance",
        "VirtualMachineExport",
    ]
)


def _sub(resource: Resource, name: str, kind: str, verbs: Iterable[str]) -> Object:
    place = f"{resource.plural}/{name}"
    return {
        "name": place,
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": list(verbs),
    }


def openapi_v2() -> Object:
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": f"v{VERSION}"},
        "paths": {},
        "definitions": {},
    }


def openapi_v3_index() -> Object:
    roots = [_root(api_version) for api_version in _group_versions()]
    return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}}


def openapi_v3(root: str) -> Object | None:
    """The paths of one group and version, with what kubectl looks for: that fieldValidation is understood."""
    served = [resource for resource in RESOURCES if _root(resource.api_version) == root]
    if not served:
        return None
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"v{VERSION}"},
        "paths": {_path(resource): _operations(resource) for resource in served},
        "components": {"schemas": {}},
    }


def _root(api_version: str) -> str:
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def _path(resource: Resource) -> str:
    middle = "/namespaces/{namespace}" if resource.namespaced else ""
    return f"/{_root(resource.api_version)}{middle}/{resource.plural}/{{name}}"


def _operations(resource: Resource) -> Object:
    query = {"in": "query", "name": "fieldValidation", "schema": {"type": "string", "uniqueItems": True}}
    kind = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    operation = {"parameters": [query], "responses": {}, "x-kubernetes-group-version-kind": kind}
    return {"patch": operation, "put": operation}
