"""The clock of the service is five minutes off, in either direction, or is set back while a build runs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from goldenpipe_kube import Kube
from support.controlplane import Cluster
from support.rest import Object, Rest
from support.templates import Overlay

IMAGES = "/api/v1/images"
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
MINUTES = 5

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not LIBRARIES, reason="the Debian package faketime is not installed"),
]


@asynccontextmanager
async def service_off_by(minutes: int, cluster: Cluster, overlay: Overlay) -> AsyncIterator[Rest]:
    """As users start it; only the time of day is another for it, seconds are as long as ever."""
    environment = {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME": f"{minutes:+}m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    arguments = ["serve", "--listen=127.0.0.1:0", f"--kubeconfig={cluster.kubeconfig}"]
    arguments += [f"--data-dir={overlay.folder / 'data'}", f"--templates={overlay.templates}"]
    with (overlay.folder / "service.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "goldenpipe", *arguments),
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        address = re.search(r"http://\S+", line)
        assert address, (overlay.folder / "service.log").read_text()
        async with aiohttp.ClientSession() as session:
            yield Rest(address[0], session)
    finally:
        process.terminate()
        await process.communicate()


def durations(image: Object, status: Object) -> list[float]:
    return [image["duration_seconds"], *(step["duration_seconds"] for step in status["steps"])]


@pytest.mark.parametrize("minutes", [MINUTES, -MINUTES], ids=["ahead", "behind"])
async def test_a_service_whose_clock_is_off_builds_and_shows_true_durations(
    cluster: Cluster, overlay: Overlay, admin: Kube, minutes: int
) -> None:
    overlay.step("one", "sleep 1", timeout=60, needs_vm=True, manifests=["ssh-keys.yaml"]).step("two", timeout=60)
    async with service_off_by(minutes, cluster, overlay) as rest:
        shown = datetime.fromisoformat((await rest.get("/api/v1/metrics"))["last_updated"])
        assert abs(shown - datetime.now(UTC) - timedelta(minutes=minutes)) < timedelta(minutes=1), "is it off at all?"
        await rest.create("a")
        status = await rest.end("a")
        assert status["status"] == "ready", status["error"]
        shown_durations = durations(await rest.get(f"{IMAGES}/a"), status)
        assert all(0 <= seconds < 60 for seconds in shown_durations), shown_durations
        assert shown_durations[1] >= 1
    assert overlay.ran() == ["one", "two"]
    assert len(await admin.list("Pod", labels="goldenpipe.io/image=a")) == 2
    assert await admin.list("Secret", labels="goldenpipe.io/image=a,!goldenpipe.io/record") == []


async def test_a_clock_that_is_set_back_while_a_build_runs_neither_stops_it_nor_shows_negative_durations(
    cluster: Cluster, overlay: Overlay
) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"echo at work; read _ < {gate}", timeout=60).step("two", timeout=60)
    async with service_off_by(MINUTES, cluster, overlay) as rest:
        await rest.create("a")
        await rest.log_line("a", "one", "at work")
    async with service_off_by(-MINUTES, cluster, overlay) as rest:
        assert (await rest.get(f"{IMAGES}/a"))["duration_seconds"] >= 0
        await asyncio.to_thread(gate.open)
        status = await rest.end("a")
        assert status["status"] == "ready", status["error"]
        shown = durations(await rest.get(f"{IMAGES}/a"), status)
        assert min(shown) >= 0, shown
        metrics = await rest.text("/metrics")
        total = re.search(r'goldenpipe_step_duration_seconds_sum\{.*step="one"\} (\S+)', metrics)
        assert total
        assert float(total[1]) >= 0
    assert overlay.ran() == ["one", "two"]
