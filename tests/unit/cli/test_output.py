from __future__ import annotations

import pytest

from goldenpipe.cli.output import age, duration, print_table, seconds_between, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0.4s"), (59, "59s"), (61.2, "1m01s"), (3600, "1h00m"), (86400 * 3, "3d00h")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12B"), (1536, "1.5Ki"), (553 * 1024**2, "553.0Mi"), (2**40, "1.0Ti")]
)
def test_sizes_are_written_as_kubernetes_writes_them(number: int, text: str) -> None:
    assert size(number) == text


def test_a_step_that_has_not_begun_has_no_duration() -> None:
    assert seconds_between(None, None) is None
    assert seconds_between("2024-01-15T10:30:00Z", "2024-01-15T10:31:00Z") == 60


def test_a_clock_that_is_behind_the_services_never_gives_a_negative_age() -> None:
    assert age("2999-01-01T00:00:00Z") == "0.0s"


def test_no_cell_of_a_table_is_cut_off_or_out_of_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "STATUS"), [("a" * 70, "ready"), ("b", "")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{'NAME':<70}   STATUS", f"{'a' * 70}   ready", f"{'b':<70}   -"]
