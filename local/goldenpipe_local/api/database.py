"""Objects and their history in one SQLite file; written before any answer is given.

WAL with synchronous=NORMAL: a commit costs a fraction of a millisecond and survives `kill -9`. Check-points, which do
wait for the disk, run in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE history (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL, body BLOB NOT NULL, before TEXT
);
"""
_COMMITS_PER_CHECKPOINT = 500


@dataclass(frozen=True, kw_only=True)
class Row:
    """One change: what becomes of one object, and how it is remembered."""

    version: int
    type: str
    resource: str
    namespace: str
    name: str
    body: bytes
    before: str | None


class Database:
    """The file; every method but `close` is short enough for the event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._commits = 0
        self._checkpoint: asyncio.Future[None] | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        database = cls(path)
        try:
            database._prepare()
        except BaseException:
            database._connection.close()
            raise
        return database

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run("PRAGMA wal_autocheckpoint=0")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_SCHEMA_VERSION}; COMMIT;")
        elif version != _SCHEMA_VERSION:
            message = (
                f"{self._path} was written by another version of goldenpipe (schema {version}, this one reads "
                f"{_SCHEMA_VERSION}): use that version, or start with an empty data folder"
            )
            raise RuntimeError(message)

    def objects(self) -> Iterator[tuple[str, bytes]]:
        yield from self._connection.execute("SELECT resource, body FROM objects")

    def history(self) -> Iterator[Row]:
        query = "SELECT version, type, resource, body, before FROM history ORDER BY version"
        for version, kind, resource, body, before in self._connection.execute(query):
            yield Row(
                version=version,
                type=kind,
                resource=resource,
                namespace="",
                name="",
                body=body,
                before=before,
            )

    def write(self, row: Row, *, forget_up_to: int) -> None:
        """Make one change durable, and forget history up to a version, in one transaction."""
        run = self._connection.execute
        key = (row.resource, row.namespace, row.name)
        run("BEGIN IMMEDIATE")
        try:
            if row.type == "DELETED":
                run("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", key)
            else:
                run("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (*key, row.body))
            values = (row.version, row.type, row.resource, row.body, row.before)
            run("INSERT INTO history VALUES (?, ?, ?, ?, ?)", values)
            run("DELETE FROM history WHERE version <= ?", (forget_up_to,))
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise
        self._commits += 1
        if self._commits % _COMMITS_PER_CHECKPOINT == 0:
            self._start_checkpoint()

    def _start_checkpoint(self) -> None:
        if self._checkpoint is None or self._checkpoint.done():
            self._checkpoint = asyncio.ensure_future(asyncio.to_thread(_checkpoint, self._path))

    async def close(self) -> None:
        if self._checkpoint is not None:
            await self._checkpoint
        self._connection.close()


def _checkpoint(path: Path) -> None:
    # a connection of its own: PASSIVE never keeps the writer waiting
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
