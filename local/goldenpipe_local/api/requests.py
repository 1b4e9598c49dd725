"""An HTTP request read as a Kubernetes one: verb, resource, names, and what the query asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from goldenpipe_local.api.errors import (
    bad_request,
    method_not_allowed,
    no_such_path,
    too_large,
    unsupported_media_type,
)
from goldenpipe_local.api.registry import WriteOptions
from goldenpipe_local.api.resources import BY_KEY, Resource, find_resource

SUBRESOURCES_GROUP = "subresources.kubevirt.io"
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_JSON = "application/json"
_YAML = "application/yaml"
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = {
    "pods": ("log", "binding", "eviction"),
    "virtualmachines.kubevirt.io": ("start", "stop", "restart"),
    "virtualmachineinstances.kubevirt.io": ("vnc/screenshot",),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked, of which object."""

    http: web.Request
    verb: str
    resource: Resource
    namespace: str | None
    """None where all namespaces are meant; empty for cluster-wide resources."""
    name: str = ""
    subresource: str = ""

    @property
    def group(self) -> str:
        """The API group as access rules see it."""
        if self.resource.group == "kubevirt.io" and self.subresource in _SUBRESOURCES.get(self.resource.key, ()):
            return SUBRESOURCES_GROUP
        return self.resource.group

    @property
    def place(self) -> str:
        """The resource as access rules see it: of vnc/screenshot they know no more than vnc."""
        first = self.subresource.partition("/")[0]
        return f"{self.resource.plural}/{first}" if first else self.resource.plural

    @property
    def in_namespace(self) -> str:
        return self.namespace or ""

    def query(self, name: str, default: str = "") -> str:
        return self.http.query.get(name, default)

    def flag(self, name: str) -> bool:
        return self.query(name).lower() in {"true", "1", "t"}

    def number(self, name: str, default: int) -> int:
        text = self.query(name)
        if not text:
            return default
        if not text.isdecimal():
            message = f'invalid value "{text}" of the query parameter {name}: must be a number'
            raise bad_request(message)
        return int(text)

    @property
    def options(self) -> WriteOptions:
        dry_run = self.http.query.getall("dryRun", [])
        if any(value not in {"", "All"} for value in dry_run):
            message = f'invalid dryRun {dry_run}: supported values: "All"'
            raise bad_request(message)
        validation = self.query("fieldValidation")
        if validation not in {"", "Ignore", "Warn", "Strict"}:
            message = f'invalid fieldValidation "{validation}": supported values: "Ignore", "Warn", "Strict"'
            raise bad_request(message)
        return WriteOptions(dry_run="All" in dry_run, strict=validation == "Strict")

    async def body(self) -> Any:
        """The body as JSON reads it; None where there is none."""
        raw = await self.read()
        if not raw:
            return None
        if self.http.content_type not in {_JSON, _YAML, "application/octet-stream"}:
            raise unsupported_media_type([_JSON, _YAML])
        try:
            return yaml.safe_load(raw) if self.http.content_type == _YAML else json.loads(raw)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            message = f"couldn't get version/kind; json parse error: {error}"
            raise bad_request(message) from error

    async def object(self) -> Any:
        """The body of a write; `null` decodes into an object of which nothing is said."""
        return {} if (await self.read()).strip() == b"null" else await self.body()

    async def patch(self) -> tuple[str, Any]:
        """The patch and its format."""
        if self.http.content_type not in PATCH_TYPES:
            raise unsupported_media_type(PATCH_TYPES)
        if self.resource.custom and self.http.content_type == PATCH_TYPES[2]:
            # as the real server: it has no struct of a custom resource to merge by
            raise unsupported_media_type(PATCH_TYPES[:2])
        try:
            return self.http.content_type, json.loads(await self.read())
        except (ValueError, RecursionError) as error:
            message = f"error decoding patch: {error}"
            raise bad_request(message) from error

    async def read(self) -> bytes:
        try:
            return await self.http.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise too_large() from error


def read_request(http: web.Request) -> Request:
    """Find out what a path under /api or /apis means; `ApiError` where it means nothing."""
    parts = [part for part in http.path.split("/") if part]
    group, version, rest = _group_version(parts)
    namespace: str | None = None
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= 4:
        raise no_such_path()
    plural, name, *below = *rest, *("",) * (2 - len(rest))
    subresource = "/".join(below)
    resource = _resource(group, version, plural, subresource)
    _check_place(resource, namespace, name, subresource)
    verb = _verb(http, name, subresource)
    if not resource.can_watch and verb != "create":
        raise method_not_allowed()
    return Request(
        http=http,
        verb=verb,
        resource=resource,
        namespace=namespace if resource.namespaced else "",
        name=name,
        subresource=subresource,
    )


def _group_version(parts: list[str]) -> tuple[str, str, list[str]]:
    if parts[:1] == ["api"] and len(parts) >= 2:
        return "", parts[1], parts[2:]
    if parts[:1] == ["apis"] and len(parts) >= 3:
        return parts[1], parts[2], parts[3:]
    raise no_such_path()


def _resource(group: str, version: str, plural: str, subresource: str) -> Resource:
    if group == SUBRESOURCES_GROUP and subresource:
        resource = BY_KEY.get(f"{plural}.kubevirt.io")
        if resource is None or subresource not in _SUBRESOURCES.get(resource.key, ()):
            raise no_such_path()
        return resource
    found = find_resource(group, version, plural)
    if found is None:
        raise no_such_path()
    return found


def _check_place(resource: Resource, namespace: str | None, name: str, subresource: str) -> None:
    if not resource.namespaced and namespace is not None:
        raise no_such_path()
    if resource.namespaced and name and namespace is None:
        raise no_such_path()
    if subresource == "status" and not resource.has_status:
        raise no_such_path()
    if subresource and subresource != "status" and subresource not in _SUBRESOURCES.get(resource.key, ()):
        raise no_such_path()


def _verb(http: web.Request, name: str, subresource: str) -> str:
    table = _OBJECT_VERBS if name else _COLLECTION_VERBS
    verb = table.get("GET" if http.method == "HEAD" else http.method)
    if subresource in {"binding", "eviction"} and http.method == "POST":
        verb = "create"
    if verb is None:
        raise method_not_allowed()
    if verb == "list" and http.query.get("watch", "").lower() in {"true", "1", "t"}:
        return "watch"
    return verb
