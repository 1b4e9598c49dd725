from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from goldenpipe.cli.progress import Lines, View, build_failure, current_step, live_bar


def status(message: str, *steps: tuple[str, str], **more: Any) -> dict[str, Any]:
    named = [{"name": name, "status": state, "message": ""} for name, state in steps]
    return {"name": "img", "status": "creating", "progress": 40, "message": message, "steps": named} | more


@pytest.mark.parametrize(
    ("state", "steps", "shown"),
    [
        ("creating", [("a", "completed"), ("b", "in_progress"), ("c", "pending")], "b"),
        ("creating", [("a", "completed"), ("b", "skipped"), ("c", "pending")], "c"),
        ("failed", [("a", "completed"), ("b", "failed"), ("c", "pending")], "b"),
        ("deleting", [("a", "completed"), ("b", "pending")], "a"),
        ("ready", [("a", "completed"), ("b", "skipped")], "a"),
        ("pending", [("a", "pending")], ""),
    ],
)
def test_the_step_shown_is_the_one_that_the_message_is_about(
    state: str, steps: list[tuple[str, str]], shown: str
) -> None:
    assert current_step(status("", *steps, status=state)) == shown


def test_without_a_terminal_there_is_one_line_for_each_change_and_no_more() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    for document in (
        status("Downloading", ("download_iso", "in_progress"), progress=1),
        status("Downloading", ("download_iso", "in_progress"), progress=2),
        status("Booting", ("create_vm", "in_progress"), progress=10),
    ):
        lines.show(View.of(document))
    said = [line.split(maxsplit=1)[1] for line in stream.getvalue().splitlines()]
    assert said == ["1%  download_iso      Downloading", "10%  create_vm         Booting"]


def test_the_bar_on_a_terminal_shows_step_and_message_even_with_brackets_in_it() -> None:
    stream = io.StringIO()
    with live_bar(Console(file=stream, force_terminal=True, width=100)) as bar:
        bar.show(View.of(status("Installing [red]nginx (3 of 7)", ("install_packages", "in_progress"))))
    assert "install_packages" in stream.getvalue()
    assert "Installing [red]nginx (3 of 7)" in stream.getvalue()


def test_a_failed_build_is_told_with_its_reason_its_hint_and_where_the_log_is() -> None:
    error = {"message": "package helm not found", "step": "install_packages", "hint": "Name it as apt does."}
    told = build_failure(status("", status="failed", error=error))
    assert told.message == "image img failed in step install_packages: package helm not found"
    assert told.hint == "Name it as apt does.\nIts log: goldenpipe logs img install_packages"


def test_a_failed_build_without_details_still_has_a_reason() -> None:
    assert build_failure(status("out of disk", status="failed", error=None)).message == "image img failed: out of disk"
