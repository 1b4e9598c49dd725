"""The schema, as named migrations; each runs once, in a transaction with the record that it ran."""

from __future__ import annotations

from collections.abc import Callable

import sqlite_utils

MIGRATIONS: dict[str, Callable[[sqlite_utils.Database], None]] = {}


def _migration(apply: Callable[[sqlite_utils.Database], None]) -> Callable[[sqlite_utils.Database], None]:
    MIGRATIONS[apply.__name__] = apply
    return apply


def migrate(database: sqlite_utils.Database) -> None:
    """Apply what is missing, in order."""
    database.conn.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")
    applied = {row["name"] for row in database.query("SELECT name FROM migrations")}
    for name, apply in MIGRATIONS.items():
        if name not in applied:
            database.conn.execute("BEGIN IMMEDIATE")
            apply(database)
            database.conn.execute("INSERT INTO migrations VALUES (?, datetime('now'))", [name])
            database.conn.execute("COMMIT")


@_migration
def m0001_images_builds_steps_events(database: sqlite_utils.Database) -> None:
    for statement in _FIRST.split(";\n"):
        if statement.strip():
            database.conn.execute(statement)


@_migration
def m0002_records_and_terms(database: sqlite_utils.Database) -> None:
    database.conn.execute("ALTER TABLE builds ADD COLUMN recorded TEXT")  # what the record in the cluster tells
    database.conn.execute("CREATE TABLE terms (term INTEGER NOT NULL)")  # one row: the last term this store led in


_FIRST = """
CREATE TABLE bundles (
    digest TEXT PRIMARY KEY,
    files TEXT NOT NULL            -- JSON: the template texts that builds started with
);
CREATE TABLE builds (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,            -- of the image
    os_type TEXT NOT NULL,
    request TEXT NOT NULL,         -- JSON; passwords are hashes
    labels TEXT NOT NULL,          -- JSON
    target TEXT NOT NULL,          -- what the user wants: present | absent
    state TEXT NOT NULL,           -- model.status.BuildState
    bundle TEXT NOT NULL REFERENCES bundles (digest),
    pipeline TEXT NOT NULL,
    pvc TEXT NOT NULL,
    vm TEXT NOT NULL,
    vm_uid TEXT,                   -- known once the VM was created
    facts TEXT NOT NULL DEFAULT '{}',
    error TEXT,                    -- JSON: message, step, hint
    size_bytes INTEGER,
    created_at TEXT NOT NULL,      -- RFC 3339, UTC, microseconds
    updated_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
);
CREATE UNIQUE INDEX one_build_per_image ON builds (name);
CREATE INDEX builds_by_state ON builds (state, created_at);
CREATE TABLE steps (
    build TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    chained_id TEXT NOT NULL,
    job TEXT NOT NULL,
    job_uid TEXT,                  -- known once the Job was created
    status TEXT NOT NULL,          -- model.status.StepStatus
    message TEXT NOT NULL,
    weight INTEGER NOT NULL,
    progress INTEGER NOT NULL DEFAULT 0,
    started_at TEXT,
    ended_at TEXT,
    PRIMARY KEY (build, position)
);
CREATE TABLE objects (             -- what the build has in the cluster beside its Jobs; written before it is created
    id INTEGER PRIMARY KEY,        -- in the order of creation
    build TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (build, kind, name)
);
CREATE TABLE events (              -- append only: every transition, for history and metrics
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    image TEXT NOT NULL,
    build TEXT NOT NULL,
    step TEXT,
    what TEXT NOT NULL,            -- the state or status entered
    message TEXT
);
CREATE INDEX events_by_build ON events (build, id);
"""
