from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from goldenpipe.cli.checks import kvm

needs_qemu = pytest.mark.skipif(shutil.which(kvm.QEMU) is None, reason="QEMU is not installed")
needs_assembler = pytest.mark.skipif(shutil.which("as") is None or shutil.which("ld") is None, reason="no binutils")


@needs_qemu
def test_the_test_guest_runs_to_its_end_where_nothing_is_wrong() -> None:
    assert kvm.probe_kvm(accelerator="tcg", seconds=20) == kvm.Probe()


@needs_qemu
def test_a_guest_that_hangs_is_no_usable_kvm() -> None:
    assert "did not get through" in kvm.probe_kvm(accelerator="tcg", seconds=0.001).trouble


def test_without_qemu_the_probe_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "QEMU", "/nonexistent/qemu")
    assert kvm.probe_kvm().trouble == "/nonexistent/qemu cannot be run (No such file or directory)"


def test_a_qemu_that_is_killed_by_a_signal_is_no_usable_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\necho 'qemu: error: failed to set MSR 0x10a to 0x69' >&2\nkill -ABRT $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(kvm, "QEMU", str(program))
    assert kvm.probe_kvm().trouble == (
        "a test guest dies on it: QEMU was ended by SIGABRT: failed to set MSR 0x10a to 0x69"
    )


@needs_assembler
def test_the_bytes_of_the_test_guest_are_those_of_its_source(tmp_path: Path) -> None:
    source = Path(kvm.__file__).with_name("guest.S")
    subprocess.run(["as", "--64", "-o", tmp_path / "guest.o", source], check=True)
    link = ["ld", "-m", "elf_x86_64", "-Ttext", "0x7c00", "--oformat", "binary"]
    subprocess.run([*link, "-o", tmp_path / "guest.bin", tmp_path / "guest.o"], check=True)
    assert (tmp_path / "guest.bin").read_bytes() == kvm.GUEST
