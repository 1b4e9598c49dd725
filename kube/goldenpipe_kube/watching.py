"""List, then watch, for ever.

A watch is only a hint that something happened: it ends silently, with 410, or with an ERROR event, and every one of
these means "list again". After each list a `Listed` mark says that all there is has been told, so that a reader can
also notice what vanished while nobody watched.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from pydantic_core import from_json

from goldenpipe_kube.errors import Gone, KubeError, from_answer
from goldenpipe_kube.kinds import Object

log = logging.getLogger(__name__)

WATCH_SECONDS = 290
"""How long the server is asked to keep one watch open; below the five minutes many proxies allow."""
SILENCE_SECONDS = 330.0
"""A watch that is silent for longer is dead: the server ought to have ended it, or sent a bookmark, before."""
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 15.0
"""Seconds between failing lists; doubled each time, with jitter, so that many watchers do not come back at once."""


EventType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True)
class Event:
    """One object as it was seen."""

    type: EventType
    object: Object


@dataclass(frozen=True)
class Listed:
    """A listing is complete: these are all the objects there are."""

    items: list[Object]


class Source(Protocol):
    """What a watch needs of the client."""

    async def list_with_version(self) -> tuple[list[Object], str]: ...

    def stream(self, resource_version: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


async def list_then_watch(
    source: Source, *, name: str, on_trouble: Callable[[KubeError], None] | None = None
) -> AsyncIterator[Event | Listed]:
    """Yield every object, `Listed`, then every change; start over whenever the watch is no longer to be trusted."""
    pause = FIRST_PAUSE
    while True:
        try:
            items, version = await source.list_with_version()
            for item in items:
                yield Event("ADDED", item)
            yield Listed(items)
            pause = FIRST_PAUSE
            while True:
                async for event in _watch_once(source, version):
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        yield Event(cast("EventType", event.type), event.object)
                await asyncio.sleep(FIRST_PAUSE * random.random())  # some server may end every watch at once
        except Gone:
            log.debug("watch of %s expired, listing again", name)
        except KubeError as error:
            if on_trouble:
                on_trouble(error)
            log.debug("watch of %s failed, listing again in about %.1f s: %s", name, pause, error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)


@dataclass(frozen=True)
class _Raw:
    type: str
    object: Object


async def _watch_once(source: Source, version: str) -> AsyncIterator[_Raw]:
    async with source.stream(version) as chunks:
        async for line in _lines(chunks):
            document: dict[str, Any] = from_json(line, cache_strings="keys")
            if document["type"] == "ERROR":
                status = document["object"]
                raise from_answer(int(status.get("code") or 500), json.dumps(status))
            yield _Raw(document["type"], document["object"])


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            if line.strip():
                yield line
