"""`goldenpipe serve` and its client as separate programs, on the whole local cluster with shell commands as steps."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.templates import Overlay

PROGRAM = (sys.executable, "-m", "goldenpipe")
SECONDS = 60


@dataclass
class Served:
    """A data folder and the service that is running on it."""

    folder: Path
    overlay: Overlay
    address: str = "127.0.0.1:0"
    said: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it, always where it was first, and waits until it says where that is."""
        command = [*PROGRAM, "serve", "--listen", self.address, "--data-dir", self.folder / "data"]
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--templates", self.overlay.templates], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if match := re.match(r"GoldenPipe listens on http://(\S+)", line):
                self.address = match[1]
            if "KUBECONFIG" in line:
                return
        pytest.fail((self.folder / "serve.log").read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=SECONDS)
        return self.process.returncode

    def client(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "GOLDENPIPE_SERVER": f"http://{self.address}"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*PROGRAM, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
        )

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit code, output and errors."""
        client = self.client(*arguments)
        out, err = client.communicate(stdin, timeout=SECONDS)
        return client.returncode, out, err


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(folder=tmp_path, overlay=Overlay(tmp_path / "overlay"))
    served.start()
    yield served
    if served.process is not None and served.process.poll() is None:
        served.stop()


def request(name: str = "img") -> str:
    labels = {"team": "lab"}
    return json.dumps(
        {"name": name, "os_type": "linux", "base_iso_url": "https://images.example/a.qcow2", "labels": labels}
    )


def test_an_image_from_request_to_deletion(served: Served) -> None:
    served.overlay.step("one", "echo first words").step("two", "echo last words")
    code, out, err = served.run("create", "-f", "-", "--wait", "-o", "json", stdin=request())
    assert (code, json.loads(out)["status"]) == (0, "ready"), err
    assert (
        served.run("list", "-l", "team=lab", "--status", "ready")[1].splitlines()[1].startswith("img    linux   ready")
    )
    assert served.run("list", "-l", "team=other")[2] == "No images like that.\n"
    assert [line.split()[1] for line in served.run("status", "img")[1].splitlines()[3:]] == ["completed", "completed"]
    code, out, _ = served.run("logs", "img", "-f")
    assert code == 0
    assert re.fullmatch(r"==> one <==\n(?s:.*)first words\n\n==> two <==\n(?s:.*)last words\n", out)
    assert served.run("vms", "-o", "json")[1] == "[]\n"
    assert served.run("delete", "img", "--wait")[:2] == (0, "img is deleted.\n")
    assert served.run("status", "img")[0] == 1
    assert served.run("list", "-o", "json")[1] == "[]\n"


def test_all_faults_of_a_request_are_printed_at_once(served: Served) -> None:
    code, _, err = served.run("create", "-f", "-", stdin='{"name": "No!", "os_type": "beos", "colour": "red"}')
    assert code == 1
    first, *faults = err.splitlines()
    assert first == f"goldenpipe: the request has {len(faults)} faults:"
    assert {fault.strip().split(":")[0] for fault in faults} == {"name", "os_type", "base_iso_url", "colour"}


def test_a_name_that_is_taken_is_refused(served: Served) -> None:
    served.overlay.step("one")
    assert served.run("create", "-f", "-", "--wait", stdin=request())[0] == 0
    code, _, err = served.run("create", "-f", "-", stdin=request())
    assert code == 1
    assert "img" in err


def test_a_build_that_fails_ends_the_waiting_with_exit_code_1_and_the_steps_words(served: Served) -> None:
    message = r'"package helm not found\n{\"hint\": \"use another name\"}"'
    served.overlay.step("one", f"printf {message} > $GOLDENPIPE_TERMINATION_LOG; exit 20")
    code, _, err = served.run("create", "-f", "-", "--wait", stdin=request())
    assert code == 1
    assert err == (
        "goldenpipe: image img failed in step one: package helm not found\n"
        "use another name\nIts log: goldenpipe logs img one\n"
    )
    assert "use another name" in served.run("status", "img")[1]


def test_waiting_and_following_live_through_a_kill_9_of_the_service(served: Served) -> None:
    gate = served.overlay.gate("gate")
    served.overlay.step("one", f"echo before; read _ < {gate}; echo after")
    waiting = served.client("create", "-f", "-", "--wait")
    assert waiting.stdin is not None
    waiting.stdin.write(request())
    waiting.stdin.close()
    waiting.stdin = None
    assert waiting.stdout is not None
    assert "one" in waiting.stdout.readline()
    following = served.client("logs", "img", "one", "-f")
    assert following.stdout is not None
    while "before" not in following.stdout.readline():
        pass
    served.stop(signal.SIGKILL)
    served.start()
    gate.open()
    assert waiting.communicate(timeout=SECONDS)[0].endswith(
        "img is ready. Get its disk: goldenpipe export img --out img.qcow2\n"
    )
    assert waiting.returncode == 0
    rest, _ = following.communicate(timeout=SECONDS)
    assert "before" not in rest
    assert "after" in rest
    assert served.overlay.ran() == ["one"]


def test_ctrl_c_ends_the_waiting_but_not_the_build(served: Served) -> None:
    gate = served.overlay.gate("gate")
    served.overlay.step("one", f"read _ < {gate}")
    waiting = served.client("create", "-f", "-", "--wait")
    assert waiting.stdin is not None
    waiting.stdin.write(request())
    waiting.stdin.close()
    waiting.stdin = None
    assert waiting.stdout is not None
    waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=SECONDS)
    assert waiting.returncode == 130
    assert err.startswith("goldenpipe: stopped watching; the build goes on.\n")
    gate.open()
    assert served.run("status", "img", "--watch")[0] == 0


def test_it_says_which_cluster_it_uses_and_ends_well_on_sigterm(served: Served) -> None:
    assert served.said[1] == f"Its local cluster: export KUBECONFIG={served.folder}/data/cluster/kubeconfig"
    assert "using the local cluster on this machine" in (served.folder / "serve.log").read_text()
    assert served.stop() == 0


def test_an_address_in_use_is_one_sentence_with_the_way_out(served: Served) -> None:
    command = [*PROGRAM, "serve", "--local", "--listen", served.address, "--data-dir", served.folder / "other"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 1
    assert f"cannot listen on {served.address}: address already in use" in ended.stderr.lower()
    assert "--listen" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_lint_names_file_and_line_of_a_fault_and_exits_1(served: Served) -> None:
    served.overlay.step("one")
    templates = str(served.overlay.templates)
    assert served.run("lint", templates) == (0, "", "No faults.\n")
    (served.overlay.templates / "steps" / "one.yaml").write_text("name: one\nsummary: {{ nothing\n")
    code, out, err = served.run("lint", templates)
    assert (code, err) == (1, "1 fault.\n")
    assert re.match(r"steps/one\.yaml:\d+: ", out)
    found = json.loads(served.run("lint", templates, "-o", "json")[1])
    assert [finding["path"] for finding in found] == ["steps/one.yaml"]
