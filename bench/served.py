"""The service as a process of its own: started for a benchmark, asked, and looked at from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running `goldenpipe serve`."""

    pid: int
    address: str

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    @property
    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """With `templates` of this folder laid over its own, until the block is left; its log is in the folder too."""
    command = [sys.executable, "-m", "goldenpipe", "serve", "--listen", "127.0.0.1:0", *options]
    command += ["--data-dir", str(folder / "data"), "--templates", str(folder / "templates")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield Served(pid=process.pid, address=_address_of(process))
    finally:
        process.terminate()
        process.wait()


def write_pipeline(folder: Path, steps: Sequence[dict[str, object]]) -> None:
    """A pipeline for every request, of these steps."""
    (folder / "steps").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    for step in steps:
        (folder / "steps" / f"{step['name']}.yaml").write_text(json.dumps({"summary": step["name"], **step}))
    names = [step["name"] for step in steps]
    pipeline = {"name": "linux-disk", "summary": "A benchmark", "when": "true", "steps": names}
    (folder / "pipelines" / "linux-disk.yaml").write_text(json.dumps(pipeline))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"listens on (http://\S+)", line):
            return found[1]
    message = "the service did not start"
    raise SystemExit(message)


def cpu_of_children() -> dict[str, float]:
    """Processor seconds of this process and of those it has started, by the names of their programs."""
    own = os.getpid()
    used = {"bench": cpu_seconds(own)}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            parent, pid = re.findall(r"^PPid:\s+(\d+)", text, re.MULTILINE)[0], int(status.parent.name)
            if int(parent) == own:
                name = status.with_name("cmdline").read_text().split("\0")[0].rpartition("/")[2]
                used["service" if name.startswith("python") else name] = cpu_seconds(pid)
        except OSError:
            continue
    return used
