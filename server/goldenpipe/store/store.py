"""What the rest of the service asks of the store, in its own words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlite_utils

from goldenpipe.errors import AlreadyExists
from goldenpipe.model.build import Build, BuildError
from goldenpipe.model.request import ImageRequest
from goldenpipe.model.status import BuildState, StepStatus, Target
from goldenpipe.planning.plan import Plan
from goldenpipe.store.migrations import migrate
from goldenpipe.store.rows import build_from, build_row, step_from, step_row, to_text
from goldenpipe.store.writer import Writer
from goldenpipe.templating.bundle import Bundle

Object = dict[str, Any]
Result = TypeVar("Result")


_ACTIVE = (BuildState.RUNNING.value, BuildState.FINISHING.value, BuildState.FAILING.value)
_MARKS = ", ".join("?" * len(_ACTIVE))


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which images a list is about. `after` is the name that the previous page ended with."""

    labels: tuple[tuple[str, str], ...] = ()
    states: tuple[BuildState, ...] | None = None
    target: Target | None = None
    os_type: str | None = None
    limit: int | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over all images."""

    images: int
    failed: int
    queued: int
    running: int
    storage_bytes: int


@dataclass(frozen=True, kw_only=True)
class Known:
    """A build in short."""

    name: str
    target: Target
    state: BuildState


class Store:
    """Every method is one transaction; `on_change` is called after each that changed something.

    Builds that run are held in memory as they were last written: the watches ask for them many times a second. What is
    held changes only on the writer's thread, after the transaction.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], datetime] = _now,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer = Writer(path)
        self._now = now
        self._on_change = on_change
        self._running: dict[str, Build] = {}

    async def __aenter__(self) -> Self:
        await self._writer.open(migrate)
        query = f"SELECT * FROM builds WHERE state IN ({_MARKS})"
        found = await self._writer.run(lambda db: [_with_steps(db, row) for row in db.query(query, _ACTIVE)])
        self._running = {build.id: build for build in found}
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._writer.close()

    async def _write(self, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        result = await self._writer.run(work)
        self._on_change()
        return result

    async def _change(self, build: str, work: Callable[[sqlite_utils.Database], Result]) -> Result:
        """A transaction that changes this build."""

        def both(db: sqlite_utils.Database) -> tuple[Result, Build | None]:
            return work(db), _find(db, "id", build)

        result, _ = await self._writer.run(both, then=lambda done: self._hold(build, done[1]))
        self._on_change()
        return result

    def _hold(self, build: str, latest: Build | None) -> None:
        if latest is not None and latest.state.value in _ACTIVE:
            self._running[build] = latest
        else:
            self._running.pop(build, None)

    async def check(self) -> None:
        """Return if the store can be written; `StoreError` with the reason if not."""
        await self._writer.run(lambda db: db.conn.execute("SELECT 1 FROM builds LIMIT 1").fetchall())

    async def create(self, request: ImageRequest, plan: Plan, bundle: Bundle, *, created_at: datetime) -> Build:
        """Store image, build and steps at once; `AlreadyExists` if the name is taken."""
        now = to_text(created_at)
        row = {
            "id": plan.build,
            "name": request.name,
            "os_type": request.os_type,
            "request": json.dumps(request.model_dump()),
            "labels": json.dumps(request.labels),
            "target": Target.PRESENT.value,
            "state": BuildState.QUEUED.value,
            "bundle": bundle.digest,
            "pipeline": plan.pipeline,
            "pvc": plan.pvc,
            "vm": plan.vm,
            "created_at": now,
            "updated_at": now,
        }

        def work(db: sqlite_utils.Database) -> Build:
            _insert_bundle(db, bundle)
            _insert(db, "builds", row)
            for step in plan.steps:
                _insert(db, "steps", step_row(plan.build, step))
            _event(db, now, request.name, plan.build, None, BuildState.QUEUED.value, None)
            return _one(db, "id", plan.build)

        try:
            return await self._write(work)
        except sqlite3.IntegrityError as error:
            message = f"an image named {request.name!r} exists; delete it first or choose another name"
            raise AlreadyExists(message) from error

    def runs(self, build: str) -> bool:
        """Whether the build has begun and not ended."""
        return build in self._running

    async def get(self, build: str) -> Build | None:
        return self._running.get(build) or await self._writer.run(lambda db: _find(db, "id", build))

    async def by_name(self, name: str) -> Build | None:
        return await self._writer.run(lambda db: _find(db, "name", name))

    async def select(self, wanted: Filter) -> list[Build]:
        """Images in the order of their names."""
        conditions, values = ["1"], list[Any]()
        for key, value in wanted.labels:
            conditions.append("json_extract(labels, ?) = ?")
            values += [f"$.{json.dumps(key)}", value]
        if wanted.states is not None:
            conditions.append(f"state IN ({', '.join('?' * len(wanted.states))})")
            values += [state.value for state in wanted.states]
        for column, text in (("target", wanted.target and wanted.target.value), ("os_type", wanted.os_type)):
            if text is not None:
                conditions.append(f"{column} = ?")
                values.append(text)
        if wanted.after is not None:
            conditions.append("name > ?")
            values.append(wanted.after)
        query = f"SELECT * FROM builds WHERE {' AND '.join(conditions)} ORDER BY name LIMIT ?"
        limit = -1 if wanted.limit is None else wanted.limit
        return await self._writer.run(lambda db: [_with_steps(db, row) for row in db.query(query, [*values, limit])])

    async def unfinished(self) -> list[str]:
        """Ids of the builds that still have something to do, oldest first."""
        ended = [state.value for state in BuildState if state.ended]
        query = "SELECT id FROM builds WHERE target = ? OR state NOT IN (?, ?) ORDER BY created_at"
        values = [Target.ABSENT.value, *ended]
        return await self._writer.run(lambda db: [row["id"] for row in db.query(query, values)])

    async def admit(self, *, limit: int) -> list[str]:
        """Let queued builds run, the oldest first, until `limit` do; the ids of those that now may."""

        def work(db: sqlite_utils.Database) -> list[Build]:
            count = f"SELECT count(*) FROM builds WHERE state IN ({_MARKS})"
            running = db.conn.execute(count, _ACTIVE).fetchone()[0]
            waiting = "SELECT id FROM builds WHERE state = ? AND target = ? ORDER BY created_at, id LIMIT ?"
            values = [BuildState.QUEUED.value, Target.PRESENT.value, max(0, limit - running)]
            found = [row["id"] for row in db.query(waiting, values)]
            for build in found:
                self._enter(db, build, BuildState.RUNNING, started=True)
            return [_one(db, "id", build) for build in found]

        def hold(admitted: list[Build]) -> None:
            for build in admitted:
                self._hold(build.id, build)

        admitted = await self._writer.run(work, then=hold)
        if admitted:
            self._on_change()
        return [build.id for build in admitted]

    async def enter(self, build: str, state: BuildState) -> None:
        """A transition of a build that carries nothing else."""
        await self._change(build, lambda db: self._enter(db, build, state))

    async def fail(self, build: str, error: BuildError) -> None:
        """The build fails for this reason; its step in progress fails with it, and the step that is named, even if it
        had been taken for done. The first reason stays."""

        def work(db: sqlite_utils.Database) -> None:
            now = to_text(self._now())
            state = db.conn.execute("SELECT state FROM builds WHERE id = ?", [build]).fetchone()[0]
            if state not in (BuildState.QUEUED.value, BuildState.RUNNING.value, BuildState.FINISHING.value):
                return
            failed = (
                "UPDATE steps SET status = ?, message = ?, ended_at = ?"
                " WHERE build = ? AND (status = ? OR (status = ? AND name = ?))"
            )
            found = [StepStatus.IN_PROGRESS.value, StepStatus.COMPLETED.value, error.step]
            db.conn.execute(failed, [StepStatus.FAILED.value, error.message, now, build, *found])
            db.conn.execute("UPDATE builds SET error = ? WHERE id = ?", [json.dumps(asdict(error)), build])
            self._enter(db, build, BuildState.FAILING, message=error.message)

        await self._change(build, work)

    async def end(self, build: str, state: BuildState) -> None:
        """The build has succeeded or failed for good."""
        await self._change(build, lambda db: self._enter(db, build, state, ended=True))

    async def start_step(self, build: str, position: int) -> datetime:
        """Of the first step, before its Job is created; when that was."""
        now = self._now()
        await self._step(build, position, StepStatus.IN_PROGRESS, started_at=to_text(now))
        return now

    async def complete_step(self, build: str, position: int, *, message: str, facts: Object) -> None:
        """The step is done, its facts join the build's, and the next step begins."""

        def work(db: sqlite_utils.Database) -> None:
            now = to_text(self._now())
            self._set_step(db, build, position, StepStatus.COMPLETED, message=message, progress=100, ended_at=now)
            query = "SELECT min(position) FROM steps WHERE build = ? AND status = ?"
            (following,) = db.conn.execute(query, [build, StepStatus.PENDING.value]).fetchone()
            if following is not None:
                self._set_step(db, build, following, StepStatus.IN_PROGRESS, started_at=now)
            merge = "UPDATE builds SET facts = json_patch(facts, ?), size_bytes = coalesce(?, size_bytes) WHERE id = ?"
            db.conn.execute(merge, [json.dumps(facts), facts.get("size_bytes"), build])

        await self._change(build, work)

    async def note_job(self, build: str, position: int, uid: str) -> None:
        """The step's Job exists under this uid."""
        query = "UPDATE steps SET job_uid = ? WHERE build = ? AND position = ?"
        await self._change(build, lambda db: db.conn.execute(query, [uid, build, position]))

    async def note_object(self, build: str, kind: str, name: str) -> None:
        """The build is about to create this object; from now on it is the build's to take away."""
        query = "INSERT OR IGNORE INTO objects (build, kind, name) VALUES (?, ?, ?)"
        await self._change(build, lambda db: db.conn.execute(query, [build, kind, name]))

    async def note_vm(self, build: str, uid: str) -> None:
        """The build VM exists under this uid."""
        query = "UPDATE builds SET vm_uid = ? WHERE id = ?"
        await self._change(build, lambda db: db.conn.execute(query, [uid, build]))

    async def note_progress(self, build: str, step: str, *, progress: int, message: str) -> bool:
        """Progress within a running step; never goes back. Whether it changed anything."""
        query = (
            "UPDATE steps SET progress = max(progress, ?), message = ?"
            " WHERE build = ? AND name = ? AND status = ? AND (progress < ? OR message <> ?)"
        )
        values = [progress, message, build, step, StepStatus.IN_PROGRESS.value, progress, message]

        def work(db: sqlite_utils.Database) -> bool:
            changed = bool(db.conn.execute(query, values).rowcount)
            if changed:
                db.conn.execute("UPDATE builds SET updated_at = ? WHERE id = ?", [to_text(self._now()), build])
            return changed

        return await self._change(build, work)

    async def mark_absent(self, name: str) -> Build | None:
        """The user wants the image gone; the build to work on, or None if there is none."""

        def work(db: sqlite_utils.Database) -> Build | None:
            build = _find(db, "name", name)
            if build is None or build.target is Target.ABSENT:
                return build
            now = to_text(self._now())
            values = [Target.ABSENT.value, now, build.id]
            db.conn.execute("UPDATE builds SET target = ?, updated_at = ? WHERE id = ?", values)
            _event(db, now, name, build.id, None, "deleting", None)
            return _one(db, "id", build.id)

        def hold(build: Build | None) -> None:
            if build is not None:
                self._hold(build.id, build)

        build = await self._writer.run(work, then=hold)
        self._on_change()
        return build

    async def forget(self, build: str) -> None:
        """Nothing of the image is left anywhere else: the last trace goes (its events stay as history)."""

        def work(db: sqlite_utils.Database) -> None:
            found = _find(db, "id", build)
            if found is None:
                return
            db.conn.execute("DELETE FROM builds WHERE id = ?", [build])
            db.conn.execute("DELETE FROM bundles WHERE digest NOT IN (SELECT bundle FROM builds)")
            _event(db, to_text(self._now()), found.name, build, None, "deleted", None)

        await self._change(build, work)

    async def belongs(self, term: int) -> bool:
        """Whether nobody else can have led since this store did, in the term that it noted or the one before this."""

        def work(db: sqlite_utils.Database) -> bool:
            row = db.conn.execute("SELECT term FROM terms").fetchone()
            if row is None:  # made before there were terms, or new
                return term == 0 or db.conn.execute("SELECT count(*) FROM builds").fetchone()[0] == 0
            return bool(0 <= term - row[0] <= 1)

        return await self._writer.run(work)

    async def lead(self, term: int) -> None:
        """From now on this store is the one that knows what happens in this term."""

        def work(db: sqlite_utils.Database) -> None:
            db.conn.execute("DELETE FROM terms")
            _insert(db, "terms", {"term": term})

        await self._writer.run(work)

    async def known(self) -> dict[str, Known]:
        """All builds by id, without what is in them."""
        query = "SELECT id, name, target, state FROM builds"
        rows = await self._writer.run(lambda db: list(db.query(query)))
        return {
            row["id"]: Known(name=row["name"], target=Target(row["target"]), state=BuildState(row["state"]))
            for row in rows
        }

    async def restore(self, build: Build, bundle: Bundle) -> None:
        """Store a build as the cluster tells it, in the place of its row; `AlreadyExists` if another has its name."""

        def work(db: sqlite_utils.Database) -> None:
            db.conn.execute("DELETE FROM builds WHERE id = ?", [build.id])
            _insert_bundle(db, bundle)
            _insert(db, "builds", build_row(build))
            for step in build.steps:
                _insert(db, "steps", step_row(build.id, step))
            for kind, name in build.objects:
                _insert(db, "objects", {"build": build.id, "kind": kind, "name": name})
            _event(db, to_text(self._now()), build.name, build.id, None, "restored", build.status.value)

        try:
            await self._change(build.id, work)
        except sqlite3.IntegrityError as error:
            message = f"an image named {build.name!r} is known already"
            raise AlreadyExists(message) from error

    async def note_recorded(self, build: str, word: str) -> None:
        """The build's record in the cluster tells this by now."""
        query = "UPDATE builds SET recorded = ? WHERE id = ?"
        await self._change(build, lambda db: db.conn.execute(query, [word, build]))

    async def bundle(self, digest: str) -> Bundle:
        """The templates that a build started with."""
        query = "SELECT files FROM bundles WHERE digest = ?"
        text = await self._writer.run(lambda db: db.conn.execute(query, [digest]).fetchone()[0])
        return Bundle(json.loads(text))

    async def totals(self) -> Totals:
        query = (
            "SELECT count(*) AS images, coalesce(sum(state = 'failed'), 0) AS failed,"
            " coalesce(sum(state = 'queued' AND target = 'present'), 0) AS queued,"
            " coalesce(sum(state IN ('running', 'finishing', 'failing')), 0) AS running,"
            " coalesce(sum(CASE WHEN state = 'succeeded' THEN size_bytes END), 0) AS storage_bytes FROM builds"
        )
        return Totals(**await self._writer.run(lambda db: next(iter(db.query(query)))))

    async def _step(self, build: str, position: int, status: StepStatus, **values: Any) -> None:
        await self._change(build, lambda db: self._set_step(db, build, position, status, **values))

    def _set_step(
        self, db: sqlite_utils.Database, build: str, position: int, status: StepStatus, **values: Any
    ) -> None:
        columns = {"status": status.value, **{key: value for key, value in values.items() if value not in (None, "")}}
        settings = ", ".join(f"{column} = ?" for column in columns)
        query = f"UPDATE steps SET {settings} WHERE build = ? AND position = ?"
        db.conn.execute(query, [*columns.values(), build, position])
        now = to_text(self._now())
        db.conn.execute("UPDATE builds SET updated_at = ? WHERE id = ?", [now, build])
        row = next(
            iter(
                db.query(
                    "SELECT b.name AS image, s.name AS step FROM steps s JOIN builds b ON b.id = s.build"
                    " WHERE s.build = ? AND s.position = ?",
                    [build, position],
                )
            )
        )
        _event(db, now, row["image"], build, row["step"], status.value, values.get("message"))

    def _enter(
        self,
        db: sqlite_utils.Database,
        build: str,
        state: BuildState,
        *,
        started: bool = False,
        ended: bool = False,
        message: str | None = None,
    ) -> None:
        now = to_text(self._now())
        query = (
            "UPDATE builds SET state = ?, updated_at = ?, started_at = coalesce(?, started_at),"
            " ended_at = coalesce(?, ended_at) WHERE id = ?"
        )
        db.conn.execute(query, [state.value, now, now if started else None, now if ended else None, build])
        name = db.conn.execute("SELECT name FROM builds WHERE id = ?", [build]).fetchone()
        if name:
            _event(db, now, name[0], build, None, state.value, message)


def _insert_bundle(db: sqlite_utils.Database, bundle: Bundle) -> None:
    files = json.dumps(dict(bundle.files))
    db.conn.execute("INSERT OR IGNORE INTO bundles VALUES (?, ?)", [bundle.digest, files])


def _insert(db: sqlite_utils.Database, table: str, row: Object) -> None:
    marks = ", ".join("?" * len(row))
    db.conn.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def _event(
    db: sqlite_utils.Database, at: str, image: str, build: str, step: str | None, what: str, message: str | None
) -> None:
    row = {"at": at, "image": image, "build": build, "step": step, "what": what, "message": message}
    _insert(db, "events", row)


def _find(db: sqlite_utils.Database, column: str, value: str) -> Build | None:
    row = next(iter(db.query(f"SELECT * FROM builds WHERE {column} = ?", [value])), None)
    return _with_steps(db, row) if row else None


def _one(db: sqlite_utils.Database, column: str, value: str) -> Build:
    found = _find(db, column, value)
    assert found is not None
    return found


def _with_steps(db: sqlite_utils.Database, row: Object) -> Build:
    steps = db.query("SELECT * FROM steps WHERE build = ? ORDER BY position", [row["id"]])
    objects = db.query("SELECT kind, name FROM objects WHERE build = ? ORDER BY id", [row["id"]])
    made = tuple((found["kind"], found["name"]) for found in objects)
    return build_from(row, tuple(step_from(step) for step in steps), made)
