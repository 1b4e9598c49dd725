"""The REST API of one running service, as a caller sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

Object = dict[str, Any]


class Rest:
    """Requests with JSON in and out."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address, self.session = address, session

    async def call(self, method: str, path: str, **arguments: Any) -> tuple[int, Object]:
        """Status and JSON of the answer."""
        async with self.session.request(method, self.address + path, **arguments) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> Object:
        status, body = await self.call("GET", path)
        assert status == 200, body
        return body

    async def text(self, path: str) -> str:
        async with self.session.get(self.address + path) as answer:
            return await answer.text()

    async def create(self, name: str, **changes: Any) -> Object:
        document = {"name": name, "os_type": "linux", "base_iso_url": "https://images.example/base.qcow2", **changes}
        status, body = await self.call("POST", "/api/v1/images", json=document)
        assert status == 202, body
        return body

    async def statuses(self, name: str, *, seconds: float = 60) -> AsyncGenerator[Object, None]:
        """Every status document from now until the image has ended or is gone; asks again when nobody leads."""
        url = f"{self.address}/api/v1/images/{name}/status"
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            timeout = aiohttp.ClientTimeout(total=left)
            async with self.session.get(url, params={"watch": "true"}, timeout=timeout) as answer:
                if answer.status != 503:
                    with contextlib.suppress(aiohttp.ClientPayloadError):
                        async for line in answer.content:
                            yield json.loads(line)
                        return
            await asyncio.sleep(0.2)
        raise TimeoutError

    async def end(self, name: str, *, seconds: float = 60) -> Object:
        """The last status document."""
        last: Object = {}
        async for document in self.statuses(name, seconds=seconds):
            last = document
        return last

    async def log_line(self, name: str, step: str, line: str, *, seconds: float = 60) -> None:
        """Return when the step's log has a line with this in it."""
        url = f"{self.address}/api/v1/images/{name}/steps/{step}/logs?follow=true"
        async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
            async for found in answer.content:
                if line in found.decode():
                    return
        raise AssertionError(line)
