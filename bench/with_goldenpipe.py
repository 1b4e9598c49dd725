"""GoldenPipe as its users have it: the service runs, one command asks for the image, another fetches the disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contestants import Contestant, logged
from order import CPUS, DISK_GIB, MEMORY_MIB, MOTD, PACKAGES, SCRIPT, USER, ContestantFailed, Order

_PROGRAM = (sys.executable, "-m", "goldenpipe")
_ADDRESS = re.compile(r"listens on (\S+)")


class GoldenPipe(Contestant):
    name = "GoldenPipe"

    def __init__(self) -> None:
        self._server = ""
        self.steps: dict[str, float] = {}
        """Seconds of each step of the last build."""

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return version("goldenpipe")

    @contextmanager
    def ready(self, folder: Path) -> Iterator[None]:
        """A service that has never made anything, so that nothing can be reused."""
        command = [*_PROGRAM, "serve", "--local", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")]
        with (folder / "serve.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            self._server = _address(process)
            yield
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()

    def make(self, order: Order, folder: Path, out: Path) -> None:
        request, log = folder / "request.json", folder / "goldenpipe.log"
        request.write_text(json.dumps(_request(order)))
        server = ["--server", self._server]
        logged([*_PROGRAM, "create", *server, "--wait", "-f", request], log)
        logged([*_PROGRAM, "export", *server, "bench", "--out", out], log)

    def after(self) -> None:
        """Off the clock: where the time went."""
        command = [*_PROGRAM, "status", "bench", "-o", "json", "--server", self._server]
        status = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        self.steps = {step["name"]: step["duration_seconds"] for step in status["steps"] if step["duration_seconds"]}


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if match := _ADDRESS.search(line):
            return match[1]
    raise ContestantFailed(f"goldenpipe serve ended with {process.wait()} before it listened")


def _request(order: Order) -> dict[str, Any]:
    return {
        "name": "bench",
        "os_type": "linux",
        "base_iso_url": order.base_disk.as_uri(),
        "storage_size": f"{DISK_GIB}Gi",
        "cpu": CPUS,
        "memory": f"{MEMORY_MIB}Mi",
        "customizations": {
            "packages": list(PACKAGES),
            "scripts": [SCRIPT],
            "files": {"/etc/motd": MOTD},
            "users": [{"name": USER, "groups": ["sudo"]}],
            "ssh_keys": [order.public_key],
        },
    }
