from __future__ import annotations

import io
from pathlib import Path

import pytest

from goldenpipe.cli.documents import read_request
from goldenpipe.cli.errors import CliError


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("request.json", '{"name": "a", "cpu": 2}'),
        ("request.yaml", "# the smallest\nname: a\ncpu: 2\n"),
        ("request", "{name: a, cpu: 2}"),
    ],
)
def test_a_request_may_be_written_as_json_or_yaml(tmp_path: Path, name: str, text: str) -> None:
    assert read_request(write(tmp_path, name, text)) == {"name": "a", "cpu": 2}


def test_a_request_may_come_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("name: a"))
    assert read_request("-") == {"name": "a"}


def test_a_date_in_yaml_stays_the_text_that_was_written(tmp_path: Path) -> None:
    request = read_request(write(tmp_path, "a.yaml", "labels: {built: 2024-01-15}\n"))
    assert request == {"labels": {"built": "2024-01-15"}}


def test_broken_json_is_told_with_its_line(tmp_path: Path) -> None:
    source = write(tmp_path, "a.json", '{"name": "a",\n "cpu": }')
    with pytest.raises(CliError, match=r"a\.json is not valid JSON: .*line 2"):
        read_request(source)


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    source = write(tmp_path, "a.yaml", "name: a\n  cpu: 2\n")
    with pytest.raises(CliError, match=r"a\.yaml is not valid YAML: .*line 2"):
        read_request(source)


@pytest.mark.parametrize(("text", "found"), [("- name: a", "a list"), ("", "nothing"), ("hello", "a str")])
def test_what_is_no_object_is_refused_before_it_is_sent(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(CliError, match=f"found {found}"):
        read_request(write(tmp_path, "a.yaml", text))


def test_a_value_that_json_cannot_hold_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="JSON has no word for"):
        read_request(write(tmp_path, "a.yaml", "files: !!set {a, b}\n"))


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"cannot read .*none\.yaml: no such file or directory\."):
        read_request(str(tmp_path / "none.yaml"))
