"""Reading and following the log of a container, or the serial console of a virtual machine."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from goldenpipe_local.node.inotify import FolderWatch

_CHUNK = 1 << 16
_FALLBACK_LINES, _FALLBACK_BYTES = 80, 2048


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """What of a log is wanted, as `PodLogOptions` says it."""

    follow: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None
    timestamps: bool = False

    @classmethod
    def from_query(cls, query: dict[str, str]) -> LogOptions:
        since = None
        if "sinceSeconds" in query:
            since = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
        elif "sinceTime" in query:
            since = datetime.fromisoformat(query["sinceTime"])
        return cls(
            follow=query.get("follow") == "true",
            tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
            limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
            since=since,
            timestamps=query.get("timestamps") == "true",
        )


@dataclass(frozen=True, kw_only=True)
class LogSource:
    """A log file: where it is, whether its lines bear times, and how to know that no more will come."""

    path: Path
    timed: bool
    is_over: Callable[[], bool]


async def read_log(source: LogSource, options: LogOptions) -> AsyncGenerator[bytes]:
    """The wanted part of the log in pieces; with `follow`, until its writer has ended."""
    left = options.limit_bytes
    async for piece in _pieces(source, options):
        if left is not None:
            piece = piece[:left]
            left -= len(piece)
        if piece:
            yield piece
        if left == 0:
            return


async def _pieces(source: LogSource, options: LogOptions) -> AsyncIterator[bytes]:
    reader = _Reader(source, options)
    if not options.follow:
        yield reader.first()
        return
    with FolderWatch(source.path.parent) as watch:
        # asked before reading: what is written before the end is then read for sure
        over = source.is_over()
        yield reader.first()
        while not over:
            await watch.changed()
            over = source.is_over()
            while piece := reader.more():
                yield piece
            if not source.path.parent.exists():
                return


class _Reader:
    """Reads a growing file and writes its lines as the client wants them."""

    def __init__(self, source: LogSource, options: LogOptions) -> None:
        self._source = source
        self._options = options
        self._position = 0
        self._rest = b""

    def first(self) -> bytes:
        """All there is now, cut to the last `tail_lines`."""
        lines = self._lines(self._read())
        if self._options.tail_lines is not None:
            lines = iter(deque(lines, maxlen=self._options.tail_lines))
        return b"".join(lines)

    def more(self) -> bytes:
        return b"".join(self._lines(self._read(_CHUNK)))

    def _read(self, limit: int = -1) -> bytes:
        try:
            with self._source.path.open("rb") as file:
                file.seek(self._position)
                data = file.read(limit)
        except FileNotFoundError:
            return b""
        self._position += len(data)
        return data

    def _lines(self, data: bytes) -> Iterator[bytes]:
        if not self._source.timed:
            return iter(data.splitlines(keepends=True))
        *lines, self._rest = (self._rest + data).split(b"\n")
        return self._timed(lines)

    def _timed(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        since = self._options.since
        for line in lines:
            stamp, _, rest = line.partition(b" ")
            _, _, rest = rest.partition(b" ")
            tag, _, text = rest.partition(b" ")
            if since and _moment(stamp) < since:
                continue
            ending = b"" if tag == b"P" else b"\n"
            yield (stamp + b" " if self._options.timestamps else b"") + text + ending


def tail_of_log(path: Path) -> bytes:
    """The end of a container's log as a termination message (`FallbackToLogsOnError`)."""
    source = LogSource(path=path, timed=True, is_over=lambda: True)
    text = _Reader(source, LogOptions(tail_lines=_FALLBACK_LINES)).first()
    return text[-_FALLBACK_BYTES:].strip()


def _moment(stamp: bytes) -> datetime:
    return datetime.fromisoformat(stamp[:19].decode() + "+00:00")
