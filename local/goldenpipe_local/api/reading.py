"""GET: one object, a list in pages, or a watch that tells of every change."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_urlsafe

from aiohttp import web

from goldenpipe_kube import Object
from goldenpipe_local.api.answers import raw_answer, raw_list
from goldenpipe_local.api.errors import ApiError, bad_request, expired, too_large_version
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.requests import Request
from goldenpipe_local.api.resources import Resource
from goldenpipe_local.api.selectors import Selector, parse_selector
from goldenpipe_local.api.store import Change, ChangeType, Store, Stored, encode
from goldenpipe_local.api.tables import Table, table_wanted

BOOKMARK_SECONDS = 60.0
"""How often a quiet watch is told the newest version, so that it can go on from there later."""
_LONGEST_WATCH = 3600
_OPEN_LISTS = 64
_BACKLOG = 20_000
"""Events that may wait for one slow watcher before it is sent away to list again."""


@dataclass(frozen=True, kw_only=True)
class _Page:
    """The rest of a list: the objects as they were when it was begun."""

    items: list[Stored]
    version: int


class Reading:
    """Answers every GET of objects; from memory only."""

    def __init__(self, registry: Registry, *, bookmark_seconds: float = BOOKMARK_SECONDS) -> None:
        self._registry = registry
        self._store = registry.store
        self._bookmark_seconds = bookmark_seconds
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._watches: set[_Watch] = set()

    def close(self) -> None:
        """End all watches; clients come back with a list."""
        for watch in list(self._watches):
            watch.end()

    async def get(self, request: Request) -> web.Response:
        stored = self._registry.get(request.resource, request.in_namespace, request.name)
        if table := table_wanted(request, request.resource):
            return raw_answer(table.encode([stored], {"resourceVersion": str(stored.version)}))
        return raw_answer(stored.raw)

    async def list_objects(self, request: Request) -> web.Response:
        resource = request.resource
        items, metadata = self._page(request)
        if table := table_wanted(request, resource):
            return raw_answer(table.encode(items, metadata))
        return raw_answer(raw_list(resource, metadata, items))

    def _page(self, request: Request) -> tuple[list[Stored], Object]:
        limit, token = request.number("limit", 0), request.query("continue")
        if token:
            page = self._pages.get(token)
            if page is None:
                message = "The provided continue parameter is too old to display a consistent list result."
                raise expired(message)
        else:
            asked = request.number("resourceVersion", 0)
            if asked > self._store.version:
                raise too_large_version(asked, self._store.version)
            page = _Page(items=self._store.select(request.resource, _selector(request)), version=self._store.version)
        metadata: Object = {"resourceVersion": str(page.version)}
        if limit and len(page.items) > limit:
            metadata["continue"] = self._remember(_Page(items=page.items[limit:], version=page.version))
            metadata["remainingItemCount"] = len(page.items) - limit
            return page.items[:limit], metadata
        return page.items, metadata

    def _remember(self, page: _Page) -> str:
        token = token_urlsafe(16)
        self._pages[token] = page
        while len(self._pages) > _OPEN_LISTS:
            self._pages.popitem(last=False)
        return token

    async def watch(self, request: Request) -> web.StreamResponse:
        selector = _selector(request)
        watch = _Watch(self._store, request.resource, selector, table_wanted(request, request.resource))
        seconds = request.number("timeoutSeconds", 0) or random.randint(_LONGEST_WATCH // 2, _LONGEST_WATCH)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        with self._store.listening(watch.take):
            first = self._first_events(request, watch)
            self._watches.add(watch)
            try:
                await response.prepare(request.http)
                # a client that has gone needs no more events
                with suppress(ConnectionError):
                    await response.write(first)
                    bookmarks = self._bookmark_seconds if request.flag("allowWatchBookmarks") else None
                    async for chunk in watch.chunks(seconds, bookmarks):
                        await response.write(chunk)
                    await response.write_eof()
            finally:
                self._watches.discard(watch)
        return response

    def _first_events(self, request: Request, watch: _Watch) -> bytes:
        version, initial = request.query("resourceVersion"), request.flag("sendInitialEvents")
        if initial and not request.flag("allowWatchBookmarks"):
            message = "sendInitialEvents needs allowWatchBookmarks"
            raise bad_request(message)
        if version in {"", "0"} or initial:
            existing = self._store.select(request.resource, watch.selector)
            first = b"".join(watch.line("ADDED", stored) for stored in existing)
            return first + (watch.bookmark(initial_end=True) if initial else b"")
        try:
            changes = self._store.changes_since(request.resource, request.number("resourceVersion", 0))
        except ApiError as error:
            watch.end()
            return encode({"type": "ERROR", "object": error.as_status()}) + b"\n"
        return b"".join(filter(None, map(watch.told, changes)))


def _selector(request: Request) -> Selector:
    labels, fields = request.query("labelSelector"), request.query("fieldSelector")
    namespace = request.namespace if request.resource.namespaced else None
    if request.name:
        fields = f"metadata.name={request.name}"
    return parse_selector(request.resource, namespace, labels, fields)


class _Watch:
    """One watcher's queue of changes, already put as it will read them."""

    def __init__(self, store: Store, resource: Resource, selector: Selector, table: Table | None) -> None:
        self._store = store
        self._resource = resource
        self.selector = selector
        self._table = table
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._ended = False

    def take(self, change: Change) -> None:
        """Called by the store for every change there is."""
        if change.resource != self._resource.key:
            return
        line = self.told(change)
        if line is not None:
            self._waiting.append(line)
            self._wake.set()
            if len(self._waiting) > _BACKLOG:
                self.end()

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    def told(self, change: Change) -> bytes | None:
        kind = change.seen_by(self.selector)
        return self.line(kind, change.after) if kind else None

    def line(self, kind: ChangeType, stored: Stored) -> bytes:
        body = self._table.encode([stored], {"resourceVersion": str(stored.version)}) if self._table else stored.raw
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)

    def bookmark(self, *, initial_end: bool = False) -> bytes:
        metadata: Object = {"resourceVersion": str(self._store.version), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self._resource
        marked = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return encode({"type": "BOOKMARK", "object": marked}) + b"\n"

    async def chunks(self, seconds: float, bookmark_seconds: float | None) -> AsyncIterator[bytes]:
        """What is to be sent, as it comes, for so many seconds."""
        end = time.monotonic() + seconds
        while not self._ended and (left := end - time.monotonic()) > 0:
            if self._waiting:
                yield self._take_all()
                continue
            self._wake.clear()
            quiet = min(left, bookmark_seconds) if bookmark_seconds else left
            try:
                async with asyncio.timeout(quiet):
                    await self._wake.wait()
            except TimeoutError:
                # never ahead of an event that came at the same moment
                if bookmark_seconds and not self._waiting:
                    yield self.bookmark()
        if self._waiting and len(self._waiting) <= _BACKLOG:
            yield self._take_all()

    def _take_all(self) -> bytes:
        lines = b"".join(self._waiting)
        self._waiting.clear()
        return lines
