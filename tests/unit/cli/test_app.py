from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from goldenpipe.cli import app


@pytest.mark.parametrize("name", app.COMMANDS)
def test_every_command_in_the_help_exists_and_says_the_same_of_itself(name: str) -> None:
    command = app.goldenpipe.get_command(click.Context(app.goldenpipe), name)
    assert command is not None
    assert command.name == name
    summary = app.COMMANDS[name][2].rstrip(".")
    assert command.help is not None
    assert command.help.startswith(summary)


def test_asking_for_a_status_loads_nothing_heavy() -> None:
    code = """
import sys, json
from goldenpipe.cli.app import main
try:
    main(["--server", "http://127.0.0.1:1", "status", "x"])
except SystemExit:
    print(json.dumps(sorted(sys.modules)))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(json.loads(printed))
    assert "goldenpipe.cli.images" in loaded
    assert not loaded & {"aiohttp", "asyncio", "asyncssh", "kubernetes", "pydantic", "rich", "yaml"}


def run_with_a_bug(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = """
import sys
from goldenpipe.cli import app, images
def broken(_): raise ZeroDivisionError("nobody thought of this")
app.Options.client = broken
app.main(sys.argv[1:])
"""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_a_bug_is_one_sentence_and_no_traceback_unless_debugging() -> None:
    plain = run_with_a_bug("list")
    assert plain.returncode == 70
    assert "Traceback" not in plain.stderr
    assert "this is a bug in GoldenPipe: ZeroDivisionError: nobody thought of this" in plain.stderr
    assert "Traceback" in run_with_a_bug("--debug", "list").stderr
    assert "Traceback" in run_with_a_bug("list", "--debug").stderr


def test_the_server_may_be_named_before_or_after_the_command_or_in_the_environment() -> None:
    def asked(*arguments: str, **environment: str) -> str:
        command = [sys.executable, "-m", "goldenpipe", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
        assert ended.returncode == 1
        return ended.stderr

    address = "http://127.0.0.1:1"
    assert f"no answer from {address}: connection refused" in asked("--server", address, "list")
    assert f"no answer from {address}: connection refused" in asked("list", "--server", address)
    assert f"no answer from {address}: connection refused" in asked("list", GOLDENPIPE_SERVER=address)
    assert "goldenpipe serve" in asked("list", "--server", address)


def test_an_address_without_sense_is_told_before_anything_is_sent() -> None:
    command = [sys.executable, "-m", "goldenpipe", "list", "--server", "http://"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[0]) == (1, "goldenpipe: --server 'http://' is no address.")
