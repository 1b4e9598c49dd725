"""Fixtures of the step tests: a real guest, and a way to run step programs at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.steps.clusters import Cluster, cluster_at
from support.steps.guests import USER, Guest, base_folder, missing_tools
from support.steps.running import Run, RunInGuest, Runner, runner
from support.steps.windows import Windows


@pytest.fixture(scope="session")
def debian() -> Path:
    """The read-only root file system that all guests share."""
    if reason := missing_tools():
        pytest.skip(f"a real guest {reason}")
    return base_folder()


@pytest.fixture
async def guest(debian: Path, tmp_path: Path) -> AsyncIterator[Guest]:
    """A running guest with a disk of its own."""
    one = Guest(debian, tmp_path / "guest")
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


@pytest.fixture
async def steps(tmp_path: Path) -> AsyncIterator[Runner]:
    async with runner(tmp_path / "steps") as one:
        yield one


@pytest.fixture
def start(guest: Guest, steps: Runner) -> RunInGuest:
    """Start a step at the guest: `start("write_files", files=[…])`."""

    async def start_step(name: str, *, timeout_seconds: int = 300, **params: Any) -> Run:
        address = {"address": "127.0.0.1", "port": guest.port, "user": USER}
        document = {"guest": address, "timeout_seconds": timeout_seconds, "params": params}
        return await steps.start(name, document, GOLDENPIPE_SSH=str(guest.ssh_folder))

    return start_step


@pytest.fixture
def run(start: RunInGuest) -> RunInGuest:
    """Run a step at the guest to its end."""

    async def run_step(name: str, **params: Any) -> Run:
        run = await start(name, **params)
        await run.ended()
        return run

    return run_step


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """The local cluster's API, with nobody behind it but the test."""
    async with cluster_at(tmp_path / "cluster") as one:
        yield one


@pytest.fixture
async def windows(debian: Path, tmp_path: Path) -> AsyncIterator[Windows]:
    """What stands in for a running Windows; a call that no Windows would understand fails the test."""
    one = Windows(debian, tmp_path / "windows")
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
        assert not one.faults


@pytest.fixture
def start_there(windows: Windows, steps: Runner) -> RunInGuest:
    """Start a step at the Windows guest."""

    async def start_step(name: str, *, secrets: Path | None = None, **params: Any) -> Run:
        guest = {"address": "127.0.0.1", "port": windows.port, "user": USER}
        document = {"os_type": "windows", "guest": guest, "timeout_seconds": 120, "params": params}
        environ = {"GOLDENPIPE_SECRETS": str(secrets)} if secrets else {}
        return await steps.start(name, document, GOLDENPIPE_SSH=str(windows.ssh_folder), **environ)

    return start_step


@pytest.fixture
def run_there(start_there: RunInGuest) -> RunInGuest:
    """Run a step at the Windows guest to its end."""

    async def run_step(name: str, **params: Any) -> Run:
        run = await start_there(name, **params)
        await run.ended()
        return run

    return run_step
