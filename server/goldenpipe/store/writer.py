"""One thread owns the connection.

sqlite-utils refuses other threads and SQLite has one writer; a single owner means no lock, no "database is locked", and
a transaction exactly as long as the function that is handed over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import sqlite_utils

from goldenpipe.errors import Unavailable

Result = TypeVar("Result")


class StoreError(Unavailable):
    """The store cannot be read or written."""


class Writer:
    """Runs functions on the database, one after the other, each in a transaction of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._database: sqlite_utils.Database | None = None
        self._closed = False

    async def open(self, prepare: Callable[[sqlite_utils.Database], None]) -> None:
        def connect() -> None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=10)
            self._path.chmod(0o600)
            # NORMAL: a kill loses nothing, a power cut at most the last moments, which the cluster's objects tell again
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
            self._database = sqlite_utils.Database(connection)
            prepare(self._database)

        await self._submit(connect)

    async def run(
        self,
        work: Callable[[sqlite_utils.Database], Result],
        *,
        then: Callable[[Result], None] = lambda _: None,
    ) -> Result:
        """The function's result; its transaction is durable when this returns, and when `then` is called with the
        result, on the same thread. Shielded: a cancelled caller loses the answer, never the transaction."""

        def both() -> Result:
            result = self._transact(work)
            then(result)
            return result

        return await asyncio.shield(self._submit(both))

    async def close(self) -> None:
        def disconnect() -> None:
            if self._database is not None:
                self._database.conn.close()

        await self._submit(disconnect)
        self._closed = True
        self._thread.shutdown()

    def _transact(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        database = self._database
        if database is None:
            raise StoreError("the store is not open")
        database.conn.execute("BEGIN IMMEDIATE")
        try:
            result = work(database)
        except BaseException:
            database.conn.execute("ROLLBACK")
            raise
        database.conn.execute("COMMIT")
        return result

    def _submit(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        def guarded() -> Result:
            try:
                return work()
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error as error:
                message = f"the store at {self._path} cannot be used: {error}; check the disk's space and permissions"
                raise StoreError(message) from error

        if self._closed:
            message = "this service has stopped to lead, and its store is closed; ask again in a few seconds"
            raise StoreError(message)
        return asyncio.get_running_loop().run_in_executor(self._thread, guarded)
