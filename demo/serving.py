"""The service as a user would start it: `goldenpipe serve`, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goldenpipe.cli.client import Client
from goldenpipe.cli.errors import CliError

_ADDRESS = re.compile(r"^GoldenPipe listens on (\S+)")
START_SECONDS = 60.0
STOP_SECONDS = 30.0


@contextmanager
def served(data_dir: Path) -> Iterator[Client]:
    """A service on a free port; it is stopped when the block is left, however that is."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "serve.log"
    command = [sys.executable, "-m", "goldenpipe", "serve", "--local", "--listen", "127.0.0.1:0"]
    # setpriv: should the demo be killed, the service ends too; a new session: Ctrl-C is for the demo alone
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command, "--data-dir", str(data_dir)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Client(_address(process, log))
    finally:
        _stop(process)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Waits until the service prints where it listens; all that it prints is kept in a file."""
    found: list[str] = []
    printed = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        with log.open("w") as file:
            for line in process.stdout:
                file.write(line)
                file.flush()
                if not found and (match := _ADDRESS.search(line)):
                    found.append(match[1])
                    printed.set()
        printed.set()

    threading.Thread(target=read, daemon=True).start()
    printed.wait(START_SECONDS)
    if found:
        return found[0]
    said = "".join(log.read_text().splitlines(keepends=True)[-5:])
    raise CliError(f"the service did not start:\n{said}", hint="What this machine lacks: goldenpipe doctor")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
