"""The command line, run against a server that breaks connections on cue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from goldenpipe.cli.app import main
from support.cli import Ended, Run
from support.wire import Wire, served


@pytest.fixture
def wire() -> Iterator[Wire]:
    with served() as wire:
        yield wire


@pytest.fixture
def run(wire: Wire, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `goldenpipe` with these arguments against the wire."""

    def call(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main(["--server", wire.address, *arguments])
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return call
