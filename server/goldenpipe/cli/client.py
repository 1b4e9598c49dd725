"""The REST API as a client sees it: plain HTTP from the standard library, because that starts fast.

Streams (`watch_status`, `follow_log`) outlive the service: when the connection drops they connect again and go on,
which is why a command asks something simple first, to find a wrong address or name at once.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from goldenpipe.cli.errors import CliError
from goldenpipe.cli.output import count

Document = dict[str, Any]
"""A JSON object as the API sends it."""

DEFAULT_SERVER = "http://127.0.0.1:8080"
ENDED = ("ready", "failed")
"""Statuses after which an image does not change by itself."""
_CONNECTION_LOST = (http.client.HTTPException, urllib.error.URLError, OSError)
_PIECE = 1 << 16


class ApiError(CliError):
    """The service answered with an error."""

    def __init__(self, status: int, message: str, notes: tuple[str, ...] = ()) -> None:
        super().__init__(message, notes=notes)
        self.status = status

    @classmethod
    def of(cls, status: int, body: bytes) -> ApiError:
        try:
            document = json.loads(body)
            message, details = str(document["error"]), document.get("details") or []
            faults = tuple(f"{fault['path'] or 'request'}: {fault['message']}" for fault in details)
        except (ValueError, KeyError, TypeError):
            return cls(status, f"the server answered {status}, and not as GoldenPipe does; is the address right?")
        return cls(status, f"the request has {count(len(faults), 'fault')}:" if faults else message, faults)


class Unreachable(CliError):
    """The service does not answer."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How patient the client is, in seconds."""

    answer: float = 30.0
    """Until an answer begins; a service that needs longer is not well."""
    silence: float = 90.0
    """Without a byte on a stream, after which the connection is taken for dead and made again."""
    outage: float = 120.0
    """Without a connection, after which the client stops waiting for the service to come back."""
    first_pause: float = 0.2
    longest_pause: float = 3.0


class Client:
    """One GoldenPipe service, by its base address."""

    def __init__(self, server: str, limits: Limits | None = None) -> None:
        self.server = _checked_address(server)
        self.limits = limits or Limits()
        local = urllib.parse.urlsplit(self.server).hostname in ("127.0.0.1", "::1", "localhost")
        # a proxy set for the internet must not be asked for this very machine
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))

    def health(self) -> Document:
        return self._json("GET", "health")

    def create_image(self, request: Document) -> Document:
        return self._json("POST", "images", body=request)

    def image(self, name: str) -> Document:
        return self._json("GET", f"images/{_segment(name)}")

    def status(self, name: str) -> Document:
        return self._json("GET", f"images/{_segment(name)}/status")

    def delete_image(self, name: str) -> Document:
        return self._json("DELETE", f"images/{_segment(name)}")

    def images(self, filters: list[tuple[str, str]]) -> list[Document]:
        return self._all("images", filters)

    def vms(self) -> list[Document]:
        return self._all("vms", [])

    def watch_status(self, name: str) -> Iterator[Document]:
        """Each status document as it changes, until the image is ready or failed; `ApiError` 404 when it is gone."""
        pauses = _Pauses(self.limits)
        while True:
            document: Document = {}
            try:
                with self._open("GET", f"images/{_segment(name)}/status?watch=true") as answer:
                    for line in _lines(answer):
                        document = json.loads(line)
                        pauses.reset()
                        yield document
            except _CONNECTION_LOST as error:
                if pauses.spent():
                    raise self._unreachable(error) from error
            except (Unreachable, ApiError) as error:
                if pauses.spent() or not _may_pass(error):
                    raise
            if document.get("status") in ENDED:
                return
            pauses.wait()

    def follow_log(self, name: str, step: str, *, follow: bool) -> Iterator[bytes]:
        """The step's log as it grows, until the step ends; what was delivered is not delivered again."""
        pauses = _Pauses(self.limits)
        path = f"images/{_segment(name)}/steps/{_segment(step)}/logs{'?follow=true' if follow else ''}"
        delivered = 0
        while True:
            try:
                with self._open("GET", path) as answer:
                    to_skip = delivered
                    while piece := answer.read1(_PIECE):
                        new = piece[to_skip:]
                        to_skip -= min(to_skip, len(piece))
                        delivered += len(new)
                        pauses.reset()
                        if new:
                            yield new
                    return
            except _CONNECTION_LOST as error:
                if pauses.spent():
                    raise self._unreachable(error) from error
            except (Unreachable, ApiError) as error:
                if pauses.spent() or not _may_pass(error):
                    raise
            pauses.wait()

    def screenshot(self, name: str) -> bytes:
        """PNG of what the image's VM shows, or showed when its build failed."""
        try:
            with self._open("GET", f"images/{_segment(name)}/screenshot") as answer:
                return answer.read()
        except _CONNECTION_LOST as error:
            raise self._unreachable(error) from error

    def open_export(self, name: str) -> http.client.HTTPResponse:
        """The sealed disk as a stream of qcow2."""
        return self._open("GET", f"images/{_segment(name)}/export", seconds=self.limits.silence)

    def _all(self, what: str, filters: list[tuple[str, str]]) -> list[Document]:
        found: list[Document] = []
        position: list[tuple[str, str]] = []
        while True:
            query = urllib.parse.urlencode(filters + position)
            answer = self._json("GET", f"{what}?{query}" if query else what)
            found += answer[what]
            if not answer.get("continue"):
                return found
            position = [("continue", str(answer["continue"]))]

    def _json(self, method: str, path: str, body: Document | None = None) -> Document:
        try:
            with self._open(method, path, body=body) as answer:
                document = json.loads(answer.read())
        except _CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CliError(f"{self.server} answered, but not as GoldenPipe does; is the address right?")
        return document

    def _open(
        self, method: str, path: str, *, body: Document | None = None, seconds: float | None = None
    ) -> http.client.HTTPResponse:
        request = urllib.request.Request(f"{self.server}/api/v1/{path}", method=method)
        request.add_header("Accept", "*/*")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        streams = "=true" in path
        limit = seconds or (self.limits.silence if streams else self.limits.answer)
        try:
            answer: http.client.HTTPResponse = self._opener.open(request, timeout=limit)
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError.of(error.code, error.read()) from None
        except _CONNECTION_LOST as error:
            raise self._unreachable(error) from error
        return answer

    def _unreachable(self, error: BaseException) -> Unreachable:
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return Unreachable(
            f"no answer from {self.server}: {str(words).lower()}.",
            hint="Start it with `goldenpipe serve`, or name another one with --server URL or GOLDENPIPE_SERVER.",
        )


class _Pauses:
    """Longer and longer pauses between attempts, and an end to them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        self._pause = self._limits.first_pause
        self._give_up_at = time.monotonic() + self._limits.outage

    def spent(self) -> bool:
        return time.monotonic() >= self._give_up_at

    def wait(self) -> None:
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, self._limits.longest_pause)


def _may_pass(error: CliError) -> bool:
    """Whether it is what a service, or the proxy before it, says while it is restarted."""
    return isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.status in (502, 503, 504))


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Whole lines as they arrive; what a broken connection left of a line is dropped."""
    rest = b""
    while piece := answer.read1(_PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line.strip())


def _segment(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _checked_address(server: str) -> str:
    address = server if "://" in server else f"http://{server}"
    try:
        parts = urllib.parse.urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise CliError(f"--server {server!r} is no address.", hint=f"Write it as {DEFAULT_SERVER}.")
    return address.rstrip("/")
