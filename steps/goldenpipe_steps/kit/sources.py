"""The beginning of the base image at its URL, and why it cannot be had in words that a user can act on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp

from goldenpipe_steps.kit.errors import Permanent, StepError, Temporary
from goldenpipe_steps.kit.formats import HEAD_BYTES
from goldenpipe_steps.kit.log import Log

PAUSES = (1.0, 2.0, 4.0)
"""Between tries: a server that is away for a moment is common, and a wrong address must still fail soon."""
PATIENCE_SECONDS = 20.0
CONNECT_SECONDS = 8.0
READ_SECONDS = 15.0
LIMITS = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The first bytes and what the server says about the rest."""

    head: bytes
    total: int | None
    content_type: str = ""
    has_ranges: bool = False
    """Whether any part of the file can be asked for alone."""
    version: str = ""
    """What changes when the file does: its time, else its entity tag (mirrors differ in those), and its size."""
    changed_at: float | None = None
    """When it was changed last, in seconds since the epoch, where the server says so."""


async def read_head(url: str, log: Log, *, patience_seconds: float = PATIENCE_SECONDS) -> Source:
    """Read the first bytes; trouble that may pass is tried again a few times."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return await asyncio.to_thread(_local, Path(unquote(parts.path)))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = f"{redacted(url)} is no http, https or file URL"
        raise Permanent(message)
    started = time.monotonic()
    for pause in (*PAUSES, None):
        try:
            return await _fetch(url)
        except Temporary as error:
            if pause is None or time.monotonic() - started + pause > patience_seconds:
                raise
            log.say(f"{error.message}; trying again in {pause:.0f} s")
            await asyncio.sleep(pause)
    message = "unreachable"
    raise AssertionError(message)


def redacted(url: str) -> str:
    """The URL without user, password and query: those may be secrets, and logs are read by many."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


async def _fetch(url: str) -> Source:
    async with opened(url, {"Range": f"bytes=0-{HEAD_BYTES - 1}"}) as answer:
        return source_of(answer, await _read(answer))


@contextlib.asynccontextmanager
async def opened(url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
    """The server's answer as it comes; all that may go wrong until it is read becomes a step's failure in words."""
    headers = {"Accept-Encoding": "identity", **(headers or {})}
    try:
        async with (
            aiohttp.ClientSession(timeout=LIMITS, trust_env=True, auto_decompress=False) as session,
            session.get(url, headers=headers) as answer,
        ):
            if answer.status >= 400:
                raise refused(url, answer.status, answer.reason or "")
            yield answer
    except StepError:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise unreachable(url, error) from error


def source_of(answer: aiohttp.ClientResponse, head: bytes = b"") -> Source:
    """What an answer says about the file."""
    total, time = _total(answer), answer.headers.get("Last-Modified", "")
    return Source(
        head=head,
        total=total,
        content_type=answer.content_type,
        has_ranges=answer.status == 206,
        version=f"{time or answer.headers.get('ETag', '')} {total or ''}",
        changed_at=_moment(time),
    )


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    head = bytearray()
    while len(head) < HEAD_BYTES and (more := await answer.content.read(HEAD_BYTES - len(head))):
        head += more
    return bytes(head)


def _total(answer: aiohttp.ClientResponse) -> int | None:
    length = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if answer.status != 206:
        length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _local(path: Path) -> Source:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            version = f"{found.st_ino}-{found.st_mtime_ns} {found.st_size}"
            return Source(
                head=file.read(HEAD_BYTES),
                total=found.st_size,
                has_ranges=True,
                version=version,
                changed_at=found.st_mtime,
            )
    except FileNotFoundError:
        message = f"there is no file {path}"
        raise Permanent(message, hint="file: URLs name a file on the machine that runs the local cluster.") from None
    except OSError as error:
        message = f"the file {path} cannot be read: {error.strerror}"
        raise Permanent(message) from error


def refused(url: str, status: int, reason: str) -> StepError:
    message = f"{redacted(url)} answers {status} {reason}".rstrip()
    if status in (408, 425, 429) or status >= 500:
        return Temporary(message, hint="The server has trouble; try again later.")
    if status in (401, 403):
        return Permanent(message, hint="The server wants credentials, or does not serve this to everyone.")
    return Permanent(message, hint="Check the URL: distributions move their images when a release gets older.")


def unreachable(url: str, error: Exception) -> StepError:
    place = redacted(url)
    host = urlsplit(url).hostname
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
        message = f"{place} cannot be trusted: its TLS certificate is not valid here: {_plain(error)}"
        return Permanent(message, hint="Use a server with a certificate that this cluster knows.")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        message = f"{place} is unreachable: the name {host} cannot be resolved"
        return Temporary(message, hint="Check the host name, and the cluster's DNS.")
    if isinstance(error, aiohttp.TooManyRedirects):
        message = f"{place} redirects in a circle"
        return Permanent(message)
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        message = f"{place} is no valid URL: {_plain(error)}"
        return Permanent(message)
    words = "no answer in time" if isinstance(error, TimeoutError) else _plain(error)
    message = f"{place} is unreachable: {words}"
    return Temporary(message, hint="Check the address, and that the cluster has a way to it (firewall, proxy).")


def _plain(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__
