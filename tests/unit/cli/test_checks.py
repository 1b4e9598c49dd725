from __future__ import annotations

import socket
from pathlib import Path

import pytest

from goldenpipe.cli.checks import machine
from goldenpipe.cli.checks.finding import Level


def test_a_port_that_something_else_holds_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)
        (finding,) = machine.check_port("127.0.0.1", other.getsockname()[1])
    assert finding.level is Level.WARN
    assert "address already in use" in finding.message
    assert "--listen" in finding.remedy


def test_a_data_folder_that_does_not_exist_yet_is_measured_where_it_will_be(tmp_path: Path) -> None:
    (finding,) = machine.check_disk(tmp_path / "not" / "yet")
    assert str(tmp_path / "not" / "yet") in finding.message
    assert "GiB" in finding.message


def test_too_little_room_for_a_build_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NEEDED_DISK", 1 << 62)
    monkeypatch.setattr(machine, "GOOD_DISK", 1 << 62)
    (finding,) = machine.check_disk(tmp_path)
    assert finding.level is Level.FAIL
    assert "--data-dir" in finding.remedy


def test_a_machine_without_qemu_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    by_subject = {finding.subject: finding for finding in machine.check_programs()}
    assert by_subject["QEMU"].level is Level.FAIL
    assert by_subject["QEMU"].remedy.endswith("qemu-system-x86")
    assert by_subject["xz"].level is Level.WARN
