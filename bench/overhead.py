"""What GoldenPipe itself adds to a build: the gap between two steps, and what it costs while a build only waits.

Run by `make bench`. Steps are shell commands that write down when they begin and end, on the whole local cluster, so
a gap holds everything: the end of the container seen, the outcome stored, the next Job created, scheduled, started.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

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
    write_templates(folder / "templates", times, gate)
    command = [sys.executable, "-m", "goldenpipe", "serve", "--local", "--listen", "127.0.0.1:0"]
    command += ["--data-dir", str(folder / "data"), "--templates", str(folder / "templates")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        address = address_of(process)
        call(
            address, "POST", "", {"name": "bench", "os_type": "linux", "base_iso_url": "https://images.example/a.qcow2"}
        )
        wait_for(lambda: len(times.read_text().split()) >= 2 * STEPS if times.exists() else False)
        idle = idle_percent(process.pid)
        memory = int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0]) / 1024
        gate.write_text("\n")
        wait_for(lambda: call(address, "GET", "/bench")["status"] == "ready")
    finally:
        process.terminate()
        process.wait()
    moments = [float(word) for word in times.read_text().split()][: 2 * STEPS]
    gaps = [1000 * (begin - end) for end, begin in zip(moments[1:-1:2], moments[2::2], strict=True)]
    return {
        "gap_ms_p50": statistics.median(gaps),
        "gap_ms_max": max(gaps),
        "idle_percent": idle,
        "memory_mib": memory,
    }


def write_templates(folder: Path, times: Path, gate: Path) -> None:
    (folder / "steps").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    names = [f"step_{number}" for number in range(STEPS)]
    for name in names:
        note(folder, name, f"date +%s.%N >> {times}; date +%s.%N >> {times}")
    note(folder, "waits", f"read _ < {gate}")
    steps = json.dumps([*names, "waits"])
    text = f"name: linux-disk\nsummary: A benchmark\nwhen: 'true'\nsteps: {steps}\n"
    (folder / "pipelines" / "linux-disk.yaml").write_text(text)


def note(folder: Path, name: str, script: str) -> None:
    command = json.dumps(["sh", "-c", script])
    (folder / "steps" / f"{name}.yaml").write_text(f"name: {name}\nsummary: {name}\ncommand: {command}\n")


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"listens on (http://\S+)", line):
            return found[1]
    message = "the service did not start"
    raise SystemExit(message)


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


def idle_percent(pid: int) -> float:
    """CPU of the process, in percent of one core."""
    time.sleep(2)
    before = cpu_seconds(pid)
    time.sleep(WAIT_SECONDS)
    return 100 * (cpu_seconds(pid) - before) / WAIT_SECONDS


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
