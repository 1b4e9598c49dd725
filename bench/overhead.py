"""What GoldenPipe itself adds to a build: the gap between two steps, and what it costs while a build only waits.

Run by `make bench`. Steps are shell commands that write down when they begin and end, on the whole local cluster, so
a gap holds everything: the end of the container seen, the outcome stored, the next Job created, scheduled, started.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from served import Served, served, write_pipeline

STEPS = 20
WAIT_SECONDS = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goldenpipe-bench-") as folder:
        figures = measure(Path(folder))
    print(f"Between a step's last act and the next step's first, over {STEPS - 1} gaps:")
    print(f"  median {figures['gap_ms_p50']:.0f} ms, largest {figures['gap_ms_max']:.0f} ms")
    print(f"While a build only waits, over {WAIT_SECONDS:.0f} s: {figures['idle_percent']:.2f} % of one core")
    print(f"Memory of the service with its local cluster: {figures['memory_mib']:.0f} MiB")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(folder: Path) -> dict[str, float]:
    times, gate = folder / "times", folder / "gate"
    os.mkfifo(gate)
    write_pipeline(folder / "templates", [*_notes(times), _shell("waits", f"read _ < {gate}")])
    with served(folder, "--local") as service:
        request = {"name": "bench", "os_type": "linux", "base_iso_url": "https://images.example/a.qcow2"}
        call(service.address, "POST", "", request)
        wait_for(lambda: len(times.read_text().split()) >= 2 * STEPS if times.exists() else False)
        idle = idle_percent(service)
        memory = service.memory_mib
        gate.write_text("\n")
        wait_for(lambda: call(service.address, "GET", "/bench")["status"] == "ready")
    moments = [float(word) for word in times.read_text().split()][: 2 * STEPS]
    gaps = [1000 * (begin - end) for end, begin in zip(moments[1:-1:2], moments[2::2], strict=True)]
    return {
        "gap_ms_p50": statistics.median(gaps),
        "gap_ms_max": max(gaps),
        "idle_percent": idle,
        "memory_mib": memory,
    }


def _notes(times: Path) -> list[dict[str, object]]:
    return [_shell(f"step_{number}", f"date +%s.%N >> {times}; date +%s.%N >> {times}") for number in range(STEPS)]


def _shell(name: str, script: str) -> dict[str, object]:
    return {"name": name, "command": ["sh", "-c", script]}


def call(address: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/v1/images{path}", data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        document: dict[str, Any] = json.load(answer)
        return document


def wait_for(ready: Any) -> None:
    while not ready():
        time.sleep(0.2)


def idle_percent(service: Served) -> float:
    """CPU of the process, in percent of one core."""
    time.sleep(2)
    before = service.cpu_seconds
    time.sleep(WAIT_SECONDS)
    return 100 * (service.cpu_seconds - before) / WAIT_SECONDS


if __name__ == "__main__":
    main()
