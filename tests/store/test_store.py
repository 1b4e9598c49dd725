"""The store on a real SQLite file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from goldenpipe.errors import AlreadyExists
from goldenpipe.model.build import Build, BuildError
from goldenpipe.model.request import ImageRequest
from goldenpipe.model.status import BuildState, StepStatus, Target
from goldenpipe.planning.plan import plan_build
from goldenpipe.settings import ClusterSettings
from goldenpipe.store import Store, StoreError
from goldenpipe.store.store import Filter
from goldenpipe.templating.bundle import Bundle

BUNDLE = Bundle.read()
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "store.sqlite") as opened:
        yield opened


async def add(store: Store, name: str, *, minute: int = 0, **changes: object) -> Build:
    document = {"name": name, "os_type": "linux", "base_iso_url": "https://h/b.qcow2", **changes}
    request = ImageRequest.model_validate(document)
    created_at = START + timedelta(minutes=minute)
    plan = plan_build(request, BUNDLE, ClusterSettings(), created_at)
    return await store.create(request, plan, BUNDLE, created_at=created_at)


async def test_a_name_can_be_taken_only_once_even_at_the_same_moment(store: Store) -> None:
    results = await asyncio.gather(*(add(store, "a", minute=m) for m in range(5)), return_exceptions=True)
    assert sum(isinstance(result, Build) for result in results) == 1
    assert sum(isinstance(result, AlreadyExists) for result in results) == 4


async def test_no_more_builds_run_than_allowed_and_the_oldest_goes_first(store: Store) -> None:
    builds = [await add(store, name, minute=minute) for minute, name in enumerate("cba")]
    assert await store.admit(limit=2) == [builds[0].id, builds[1].id]
    assert await store.admit(limit=2) == []
    await store.end(builds[0].id, BuildState.SUCCEEDED)
    assert await store.admit(limit=2) == [builds[2].id]


async def test_the_first_reason_of_a_failure_stays(store: Store) -> None:
    build = await add(store, "a")
    await store.start_step(build.id, 1)
    await store.fail(build.id, BuildError(message="first", step="download_iso", hint="h"))
    await store.fail(build.id, BuildError(message="second"))
    failed = await store.get(build.id)
    assert failed is not None
    assert failed.error == BuildError(message="first", step="download_iso", hint="h")
    assert failed.state is BuildState.FAILING
    assert failed.steps[0].status is StepStatus.FAILED


async def test_a_running_build_is_always_told_as_it_was_last_written(store: Store) -> None:
    build = await add(store, "a")
    changes = (
        lambda: store.admit(limit=1),
        lambda: store.start_step(build.id, 1),
        lambda: store.note_job(build.id, 1, "uid"),
        lambda: store.note_object(build.id, "Secret", "s"),
        lambda: store.note_vm(build.id, "uid"),
        lambda: store.note_progress(build.id, "download_iso", progress=7, message="m"),
        lambda: store.complete_step(build.id, 1, message="done", facts={"x": 1}),
        lambda: store.enter(build.id, BuildState.FINISHING),
        lambda: store.mark_absent("a"),
        lambda: store.fail(build.id, BuildError(message="m")),
        lambda: store.end(build.id, BuildState.FAILED),
        lambda: store.forget(build.id),
    )
    last = await store.get(build.id)
    for change in changes:
        await change()
        told = await store.get(build.id)
        assert told == await store.by_name("a") != last
        last = told


async def test_what_runs_is_known_again_after_a_restart_and_what_has_ended_is_not(tmp_path: Path) -> None:
    async with Store(tmp_path / "s.sqlite") as store:
        builds = [await add(store, name) for name in "abc"]
        await store.admit(limit=2)
        await store.end(builds[0].id, BuildState.SUCCEEDED)
    async with Store(tmp_path / "s.sqlite") as store:
        assert [store.runs(build.id) for build in builds] == [False, True, False]


async def test_a_clock_that_is_set_back_makes_no_step_shorter_than_nothing(tmp_path: Path) -> None:
    clock = iter([START + timedelta(minutes=5), *[START - timedelta(minutes=5)] * 9])
    async with Store(tmp_path / "store.sqlite", now=lambda: next(clock)) as store:
        build = await add(store, "a")
        await store.start_step(build.id, 1)
        await store.complete_step(build.id, 1, message="", facts={})
        done = await store.get(build.id)
        assert done
        assert done.steps[0].seconds == 0


async def test_progress_never_goes_back(store: Store) -> None:
    build = await add(store, "a")
    await store.start_step(build.id, 1)
    assert await store.note_progress(build.id, "download_iso", progress=40, message="x")
    await store.note_progress(build.id, "download_iso", progress=10, message="again")
    found = await store.get(build.id)
    assert found is not None
    assert (found.steps[0].progress, found.steps[0].message) == (40, "again")


async def test_progress_of_a_finished_step_changes_nothing(store: Store) -> None:
    build = await add(store, "a")
    await store.start_step(build.id, 1)
    await store.complete_step(build.id, 1, message="done", facts={"size_bytes": 7, "x": 1})
    assert not await store.note_progress(build.id, "download_iso", progress=50, message="late")
    found = await store.get(build.id)
    assert found is not None
    assert (found.facts, found.size_bytes) == ({"size_bytes": 7, "x": 1}, 7)


async def test_lists_are_filtered_sorted_and_paged(store: Store) -> None:
    for name, team in (("b", "x"), ("a", "x"), ("c", "y")):
        await add(store, name, labels={"team": team, "a.b/c": "d"})
    assert [b.name for b in await store.select(Filter(labels=(("team", "x"), ("a.b/c", "d"))))] == ["a", "b"]
    assert [b.name for b in await store.select(Filter(limit=2))] == ["a", "b"]
    assert [b.name for b in await store.select(Filter(limit=2, after="b"))] == ["c"]
    assert await store.select(Filter(os_type="windows")) == []
    await store.mark_absent("a")
    assert [b.name for b in await store.select(Filter(target=Target.ABSENT))] == ["a"]


async def test_what_is_unfinished_is_found_again_after_a_restart(tmp_path: Path) -> None:
    async with Store(tmp_path / "s.sqlite") as store:
        builds = [await add(store, name, minute=minute) for minute, name in enumerate("abc")]
        await store.end(builds[0].id, BuildState.SUCCEEDED)
        await store.end(builds[1].id, BuildState.FAILED)
        await store.mark_absent("b")
    async with Store(tmp_path / "s.sqlite") as store:
        assert await store.unfinished() == [builds[1].id, builds[2].id]


async def test_the_templates_a_build_started_with_stay_until_it_is_forgotten(store: Store) -> None:
    build = await add(store, "a")
    assert (await store.bundle(build.templates)).files == BUNDLE.files
    await store.forget(build.id)
    with pytest.raises(TypeError):
        await store.bundle(build.templates)
    assert await store.by_name("a") is None


@pytest.mark.usefixtures("store")
async def test_the_file_is_for_the_service_alone(tmp_path: Path) -> None:
    assert (tmp_path / "store.sqlite").stat().st_mode & 0o077 == 0


async def test_a_store_that_cannot_be_written_says_which_file_and_why(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_text("this is no database " * 100)
    with pytest.raises(StoreError, match=r"s\.sqlite.*not a database"):
        async with Store(tmp_path / "s.sqlite"):
            pass


async def test_a_caller_that_gives_up_loses_the_answer_and_never_the_transaction(store: Store) -> None:
    task = asyncio.create_task(add(store, "a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.by_name("a") is not None


async def test_whoever_waits_for_changes_is_woken_by_each(tmp_path: Path) -> None:
    rings: list[int] = []
    async with Store(tmp_path / "s.sqlite", on_change=lambda: rings.append(1)) as store:
        await add(store, "a")
        assert len(rings) == 1
        await store.by_name("a")
        assert len(rings) == 1


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import Store, add
async def main():
    async with Store(Path(sys.argv[1])) as store:
        for number in range(1000):
            await add(store, f"image-{number}", minute=number)
            print(number, flush=True)
asyncio.run(main())
"""
    arguments = [sys.executable, "-c", program, str(tmp_path / "s.sqlite"), str(Path(__file__).parent)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(5)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout if line.strip().isdigit()]

    async def names() -> set[str]:
        async with Store(tmp_path / "s.sqlite") as store:
            return {build.name for build in await store.select(Filter())}

    assert {f"image-{number}" for number in acknowledged} <= asyncio.run(names())


async def test_who_still_asks_when_the_store_has_closed_is_told_so(tmp_path: Path) -> None:
    async with Store(tmp_path / "store.sqlite") as store:
        pass
    with pytest.raises(StoreError, match="is closed"):
        await store.by_name("a")
