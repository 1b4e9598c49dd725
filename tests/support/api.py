"""The Kubernetes API in plain HTTP, for tests that look at status codes, headers and single events."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, list[str]]
    body: Any

    @property
    def reason(self) -> str:
        return str(self.body["reason"])


class Api:
    """One user's connection."""

    def __init__(self, session: aiohttp.ClientSession, server: str, headers: dict[str, str]) -> None:
        self._session = session
        self._server = server
        self._headers = headers

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path) -> AsyncIterator[Self]:
        """By a kubeconfig with a token or a client certificate."""
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        context = _trust(cluster)
        if "client-certificate" in user:
            context.load_cert_chain(user["client-certificate"], user["client-key"])
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            yield cls(session, cluster["server"], headers)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {**self._headers, "Content-Type": content_type, **(headers or {})}
        raw_body = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        data = None if raw_body is None else io.BytesIO(raw_body)
        url = self._server + path
        async with self._session.request(method, url, data=data, headers=sent) as response:
            raw = await response.read()
            found = {name.lower(): response.headers.getall(name) for name in response.headers}
            is_json = response.content_type == "application/json"
            return Answer(status=response.status, headers=found, body=json.loads(raw) if is_json else raw)

    @asynccontextmanager
    async def watch(self, path: str, *, headers: dict[str, str] | None = None) -> AsyncIterator[Watch]:
        """The events of a watch; `path` brings the query."""
        url = f"{self._server}{path}{'&' if '?' in path else '?'}watch=true"
        async with self._session.get(url, headers={**self._headers, **(headers or {})}) as response:
            assert response.status == 200, await response.text()
            yield Watch(response.content)


class Watch:
    """Reads one event after the other."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    async def next(self, *, seconds: float = 10.0) -> Any:
        """The next event, or None at the end of the watch."""
        async with asyncio.timeout(seconds):
            line = await self._content.readline()
        return json.loads(line) if line else None

    async def told(self, count: int) -> list[tuple[str, str]]:
        """Types and names of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]

    async def rest(self) -> list[Any]:
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


def _trust(cluster: dict[str, str]) -> ssl.SSLContext:
    """By the path of the authority's certificate, or by the certificate itself."""
    if path := cluster.get("certificate-authority"):
        return ssl.create_default_context(cafile=path)
    return ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
