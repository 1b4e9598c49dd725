"""The benchmark of many builds, with few: what it takes is not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.controlplane import missing_definitions, missing_programs
from support.markdown import ROOT

pytestmark = pytest.mark.cluster


def test_builds_that_run_at_the_same_time_all_end(tmp_path: Path) -> None:
    if why := missing_programs() or missing_definitions():
        pytest.skip(why)
    figures = tmp_path / "figures.json"
    command = [sys.executable, "bench/cluster.py", "--builds=10", "--in-flight=5", f"--json={figures}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert json.loads(figures.read_text())["ready"] == 10
