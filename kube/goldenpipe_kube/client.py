"""The client: create, read, change, delete, watch, logs and subresource actions on dicts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from pydantic_core import from_json

from goldenpipe_kube.errors import Conflict, Fenced, KubeError, NotFound, Unreachable, from_answer
from goldenpipe_kube.kinds import KINDS, Items, Kind, Object
from goldenpipe_kube.watching import SILENCE_SECONDS, WATCH_SECONDS, Event, Listed, list_then_watch

DEFAULT_NAMESPACE = "goldenpipe-system"
REQUEST_SECONDS = 30.0
"""Every call ends within this; an apiserver that needs longer is not well."""
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Kube:
    """A connection to one Kubernetes API and one namespace of it."""

    def __init__(self, api: ApiClient, namespace: str, remaining: Callable[[], float] | None = None) -> None:
        self._api = api
        self.namespace = namespace
        self._remaining = remaining

    @classmethod
    async def connect(cls, kubeconfig: str | Path | None = None, *, namespace: str | None = None) -> Self:
        """Connect by this kubeconfig; without one as the Pod's service account, else by `$KUBECONFIG`."""
        settings = Configuration()
        settings.client_side_validation = False
        path = kubeconfig or (None if in_cluster() else os.environ.get("KUBECONFIG"))
        if path is None and in_cluster():
            config.load_incluster_config(settings)
            found = (_SERVICE_ACCOUNT / "namespace").read_text().strip()
        else:
            await config.load_kube_config(config_file=str(path) if path else None, client_configuration=settings)
            found = _context_namespace(Path(path) if path else Path("~/.kube/config").expanduser())
        settings.retries = None
        settings.connection_pool_maxsize = 0  # no limit: each log that is followed holds a connection
        settings.proxy = settings.proxy or _proxy_of(settings.host)
        # aiohttp would ask the environment for a proxy, and .netrc for a password, in a thread, for every request
        settings.client_session_kwargs = {"trust_env": False}
        return cls(ApiClient(settings), namespace or found)

    def fenced(self, remaining: Callable[[], float]) -> Kube:
        """The same connection, for one that may write only for as many seconds as this says at each moment: after that
        no write is sent, and none is waited for longer."""
        return Kube(self._api, self.namespace, remaining)

    async def close(self) -> None:
        await self._api.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def create(self, obj: Object) -> Object:
        """Create; `Conflict` if an object of that name exists."""
        return await self._json("POST", self._path(obj["kind"]), body=obj)

    async def ensure(self, obj: Object) -> Object:
        """Make sure that the object exists: create it, or return what is there."""
        try:
            return await self.create(obj)
        except Conflict:
            return await self.get(obj["kind"], obj["metadata"]["name"])

    async def get(self, kind: str, name: str) -> Object:
        return await self._json("GET", self._path(kind, name))

    async def find(self, kind: str, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return await self.get(kind, name)
        except NotFound:
            return None

    async def list(self, kind: str, *, labels: str = "", fields: str = "") -> Items:
        items, _ = await self._list(kind, labels, fields)
        return items

    async def patch(self, kind: str, name: str, patch: Object, *, subresource: str | None = None) -> Object:
        """JSON merge patch; with a resourceVersion in it, `Conflict` if the object has changed since."""
        return await self._json(
            "PATCH",
            self._path(kind, name, subresource),
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def replace(self, obj: Object, *, subresource: str | None = None) -> Object:
        """Replace; `Conflict` if the object has changed since it was read."""
        return await self._json("PUT", self._path(obj["kind"], obj["metadata"]["name"], subresource), body=obj)

    async def delete(
        self,
        kind: str,
        name: str,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
        uid: str | None = None,
    ) -> bool:
        """Ask for deletion; False where there was nothing to delete (or, with `uid`, something else by now)."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._json("DELETE", self._path(kind, name), body=options)
        except NotFound:
            return False
        except Conflict:
            if uid is None:
                raise
            return False
        return True

    async def act(self, kind: str, name: str, action: str, body: Object | None = None) -> None:
        """PUT on a KubeVirt subresource such as start or stop; `Conflict` if it is so already.

        The answer to `Accept: application/json` is 406 (seen on KubeVirt 1.9), hence the wildcard.
        """
        path = self._path(kind, name, action).replace("/apis/kubevirt.io/", "/apis/subresources.kubevirt.io/")
        async with self._request("PUT", path, body=body or {}, accept="*/*"):
            pass

    async def screenshot(self, instance: str) -> bytes:
        """PNG of what a running VirtualMachineInstance shows."""
        path = self._path("VirtualMachineInstance", instance, "vnc/screenshot")
        path = path.replace("/apis/kubevirt.io/", "/apis/subresources.kubevirt.io/")
        async with self._request("GET", path, accept="*/*") as answer:
            return await answer.read()

    async def healthy(self) -> None:
        """Return if the API answers and is ready; raise `KubeError` with the reason if not."""
        async with self._request("GET", "/readyz", accept="*/*", seconds=5.0):
            pass

    async def raw(self, path: str) -> Object:
        """GET any path of the API as JSON (discovery, for instance)."""
        return await self._json("GET", path)

    def watch(
        self,
        kind: str,
        *,
        labels: str = "",
        fields: str = "",
        on_trouble: Callable[[KubeError], None] | None = None,
    ) -> AsyncIterator[Event | Listed]:
        """List, then watch, for ever; see `goldenpipe_kube.watching`."""
        return list_then_watch(_Watchable(self, kind, labels, fields), name=kind, on_trouble=on_trouble)

    async def logs(
        self, pod: str, *, container: str | None = None, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """The log as it comes; with `follow` until the container ends."""
        query = {"follow": "true"} if follow else {}
        if container:
            query["container"] = container
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        seconds = None if follow else REQUEST_SECONDS
        path = self._path("Pod", pod, "log")
        async with self._request("GET", path, query=query, accept="*/*", seconds=seconds) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk

    def _path(self, kind: str, name: str | None = None, subresource: str | None = None) -> str:
        return _kind(kind).path(self.namespace, name, subresource)

    async def _list(self, kind: str, labels: str, fields: str) -> tuple[Items, str]:
        query = _selectors(labels, fields)
        answer = await self._json("GET", self._path(kind), query=query)
        for item in answer["items"]:
            item.setdefault("kind", kind)
            item.setdefault("apiVersion", _kind(kind).api_version)
        return cast("Items", answer["items"]), str(answer["metadata"]["resourceVersion"])

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        async with self._request(method, path, query=query, body=body, content_type=content_type) as answer:
            return cast("Object", from_json(await answer.read()))

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float | None = REQUEST_SECONDS,
        silence: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Content-Type": content_type, "Accept": accept}
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            auth_settings=["BearerToken"],
        )
        method, url, headers, _, _ = request
        if method != "GET" and self._remaining is not None:
            seconds = min(seconds or REQUEST_SECONDS, self._remaining())
            if seconds <= 0:
                raise Fenced
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=10, sock_read=silence)
        try:
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=limit)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        response = cast("aiohttp.ClientResponse", answer.response)
        try:
            if response.status >= 400:
                raise from_answer(response.status, await response.text())
            yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error
        finally:
            # a stream that was not read to its end cannot be used again
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    def _unreachable(self, error: BaseException) -> Unreachable:
        host = self._api.configuration.host
        words = str(error) or type(error).__name__
        return Unreachable(f"the Kubernetes API at {host} does not answer: {words}")


class _Watchable:
    """One kind and selector of a client, as `list_then_watch` wants it."""

    def __init__(self, kube: Kube, kind: str, labels: str, fields: str) -> None:
        self._kube, self._kind, self._labels, self._fields = kube, kind, labels, fields

    async def list_with_version(self) -> tuple[Items, str]:
        return await self._kube._list(self._kind, self._labels, self._fields)

    @asynccontextmanager
    async def stream(self, resource_version: str) -> AsyncIterator[AsyncIterator[bytes]]:
        query = {
            **_selectors(self._labels, self._fields),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        path = self._kube._path(self._kind)
        async with self._kube._request("GET", path, query=query, seconds=None, silence=SILENCE_SECONDS) as answer:
            yield answer.content.iter_any()


def in_cluster() -> bool:
    """Whether this process runs in a Pod with a service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (_SERVICE_ACCOUNT / "token").exists()


def _kind(kind: str) -> Kind:
    return KINDS[kind]


def _proxy_of(address: str) -> str | None:
    """As `HTTPS_PROXY` and `NO_PROXY` in the environment say; like kubectl, never for this machine itself."""
    parts = urlsplit(address)
    with contextlib.suppress(ValueError):
        if ip_address(parts.hostname or "").is_loopback:
            return None
    if parts.hostname == "localhost" or proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)


def _selectors(labels: str, fields: str) -> dict[str, str]:
    query = {"labelSelector": labels, "fieldSelector": fields}
    return {key: value for key, value in query.items() if value}


def _context_namespace(path: Path) -> str:
    document: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    for context in document.get("contexts", []):
        if context["name"] == document.get("current-context"):
            return str(context["context"].get("namespace") or DEFAULT_NAMESPACE)
    return DEFAULT_NAMESPACE
