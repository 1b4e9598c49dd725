"""`make bench-cluster`: many builds of eight steps that do nothing, on a real control plane.

What is measured is the service alone, a process of its own: its processor time and memory, and how long it takes from a
step's end to the next step's Job. Pods end at once, so nothing but the control plane and the service is waited for. The
service has the token of its own Role.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from ending_pods import NODE, EndingPods
from served import Served, cpu_of_children, served, write_pipeline
from stopwatch import Stopwatch, percentile

from goldenpipe_kube import Kube, Object
from support.controlplane import ControlPlane, Programs, definitions, missing_definitions, missing_programs
from support.controlplane.installation import SERVICE, install, token_kubeconfig

STEPS = 8
_NAMESPACE = "goldenpipe-bench"
_POSTS_AT_ONCE = 4
_LOOK_SECONDS = 1.0
_LOOKS = 5
"""Memory is noted this many times over the builds."""
_STALLED_SECONDS = 120.0
_CONTROLLER_REQUESTS = 100
"""A second. Their own limit is 20, and a Job takes five; without any they and the API server fill two cores."""


def main() -> int:
    arguments = _arguments()
    if why := missing_programs() or missing_definitions():
        print(f"bench-cluster: not possible here: {why}")
        return 1
    with tempfile.TemporaryDirectory(prefix="goldenpipe-bench-") as folder:
        run = measure(
            Path(folder), builds=arguments.builds, in_flight=arguments.in_flight, qps=arguments.controller_requests
        )
        figures = asyncio.run(run)
    print_figures(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["ready"] == arguments.builds else 1


async def measure(folder: Path, *, builds: int, in_flight: int, qps: int) -> Object:
    """The figures of one run on a control plane of its own."""
    (folder / "plane").mkdir()
    on_node = {"spec": {"template": {"spec": {"nodeName": NODE}}}}
    write_pipeline(folder / "templates", [{"name": f"step_{at}", "job": on_node} for at in range(1, STEPS + 1)])
    options = (f"--kube-api-qps={qps}", f"--kube-api-burst={qps}", "--concurrent-job-syncs=20")
    plane = ControlPlane(Programs.find(), folder / "plane", definitions=definitions(), controller_options=options)
    with plane:
        await asyncio.to_thread(install, plane, _NAMESPACE)
        admin = plane.admin_kubeconfig(folder / "kubeconfig-admin", _NAMESPACE)
        own = token_kubeconfig(plane, folder / "kubeconfig", _NAMESPACE, SERVICE)
        async with await Kube.connect(admin) as kube:
            stopwatch = Stopwatch(kube)
            async with _guarded(stopwatch), EndingPods(kube, folder, stopwatch.ended).running():
                options = ("--kubeconfig", str(own), "--max-builds", str(in_flight))
                with served(folder, *options) as service:
                    async with aiohttp.ClientSession(service.address) as session:
                        return await Run(service, session, stopwatch, builds).figures()


@asynccontextmanager
async def _guarded(stopwatch: Stopwatch) -> AsyncIterator[None]:
    task = asyncio.create_task(stopwatch.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Run:
    """One run: asks for the builds, looks once a second until all have ended, adds up."""

    def __init__(self, service: Served, session: aiohttp.ClientSession, stopwatch: Stopwatch, builds: int) -> None:
        self._service, self._session, self._stopwatch = service, session, stopwatch
        self._builds = builds
        self._memory = {0: service.memory_mib}
        self._begin = time.monotonic()

    async def figures(self) -> Object:
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, load average before: {load:.2f}", flush=True)
        before, others = self._service.cpu_seconds, cpu_of_children()
        posting = asyncio.gather(*(self._post(range(at, self._builds, _POSTS_AT_ONCE)) for at in range(_POSTS_AT_ONCE)))
        ready = await self._wait()
        await posting
        seconds = time.monotonic() - self._begin
        cpu = self._service.cpu_seconds - before
        took = self._stopwatch.milliseconds
        return {
            "builds": self._builds,
            "ready": ready,
            "seconds": seconds,
            "cpu_ms_per_step": 1000 * cpu / (STEPS * self._builds),
            "memory_mib": self._memory,
            "gaps": len(took),
            "gap_ms": {"p50": percentile(took, 50), "p99": percentile(took, 99), "max": max(took)},
            "cores": {name: (used - others.get(name, 0.0)) / seconds for name, used in cpu_of_children().items()},
            "load": [load, os.getloadavg()[0]],
        }

    async def _post(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            document = {"name": f"bench-{number}", "os_type": "linux", "base_iso_url": "https://images.example/a.qcow2"}
            async with self._session.post("/api/v1/images", json=document) as answer:
                if answer.status != 202:
                    raise SystemExit(f"{document['name']} was refused: {await answer.text()}")

    async def _wait(self) -> int:
        """Until all have ended, or none does any more; how many are ready."""
        moved, ended, ready = time.monotonic(), 0, 0
        while ended < self._builds and time.monotonic() - moved < _STALLED_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            last = ended
            ready, ended = await self._ended()
            if ended > last:
                moved = time.monotonic()
                self._report(last, ended, ready)
        return ready

    async def _ended(self) -> tuple[int, int]:
        async with self._session.get("/metrics") as answer:
            text = await answer.text()
        counts = re.findall(r'^goldenpipe_builds_total\{.*outcome="(\w+)"\} (\S+)$', text, re.MULTILINE)
        ready = sum(int(float(count)) for outcome, count in counts if outcome == "succeeded")
        return ready, sum(int(float(count)) for _, count in counts)

    def _report(self, last: int, ended: int, ready: int) -> None:
        part = max(1, self._builds // _LOOKS)
        if ended // part == last // part:
            return
        self._memory[ended] = self._service.memory_mib
        took = self._stopwatch.milliseconds
        print(
            f"{time.monotonic() - self._begin:6.1f} s: {ended} ended, {ended - ready} of them failed;"
            f" {self._memory[ended]:.0f} MiB; {percentile(took, 50):.0f} ms from a step's end to the next Job",
            flush=True,
        )


def print_figures(figures: Object) -> None:
    gap, memory = figures["gap_ms"], figures["memory_mib"]
    failed = figures["builds"] - figures["ready"]
    print(f"\n{figures['builds']} builds of {STEPS} steps in {figures['seconds']:.1f} s, {failed} of them not ready")
    print(f"Processor time of the service: {figures['cpu_ms_per_step']:.1f} ms a step")
    print("Its memory: " + ", ".join(f"{size:.0f} MiB after {ended}" for ended, size in memory.items()))
    print(
        f"From a step's end to the next Job, over {figures['gaps']}: p50 {gap['p50']:.0f} ms,"
        f" p99 {gap['p99']:.0f} ms, largest {gap['max']:.0f} ms"
    )
    cores = ", ".join(f"{name} {used:.2f}" for name, used in sorted(figures["cores"].items()))
    print(f"Cores used: {cores}; load average {figures['load'][0]:.1f} before, {figures['load'][1]:.1f} after")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-cluster", description=__doc__)
    parser.add_argument("--builds", type=int, default=500, help="how many (500)")
    parser.add_argument("--in-flight", type=int, default=50, help="how many at the same time (50)")
    parser.add_argument(
        "--controller-requests",
        type=int,
        default=_CONTROLLER_REQUESTS,
        metavar="N",
        help=f"a second, that the Job controller may make ({_CONTROLLER_REQUESTS})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
