from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.cli import Run
from support.wire import Answer, Wire, document, stream


def image(name: str = "img", status: str = "ready", **more: Any) -> dict[str, Any]:
    created = {"created_at": "2024-01-15T10:30:00Z", "updated_at": "2024-01-15T10:31:00Z"}
    return {"name": name, "os_type": "linux", "status": status, "labels": {}, **created, **more}


def status(state: str, *steps: str, message: str = "", **more: Any) -> dict[str, Any]:
    """A status document; steps as name=status."""
    pairs = [step.split("=") for step in steps]
    listed = [{"name": name, "status": value, "message": ""} for name, value in pairs]
    progress = 100 if state == "ready" else 40
    return image(status=state, progress=progress, message=message or state, steps=listed, error=None, **more)


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.yaml"
    path.write_text("name: img\nos_type: linux\nbase_iso_url: https://images.example/a.qcow2\n")
    return str(path)


def test_create_sends_the_file_as_json_and_says_how_to_watch(wire: Wire, run: Run, request_file: str) -> None:
    wire.on("POST images", document({"message": "Golden image creation started", "image": image()}, 202))
    ended = run("create", "-f", request_file)
    assert ended.code == 0
    assert ended.out == "img is being made. Watch it: goldenpipe status img --watch\n"
    assert wire.bodies == [{"name": "img", "os_type": "linux", "base_iso_url": "https://images.example/a.qcow2"}]


def test_every_fault_of_a_request_is_listed_with_its_place(wire: Wire, run: Run, request_file: str) -> None:
    faults = [{"path": "cpu", "message": "must be 1 or more"}, {"path": "", "message": "needs base_iso_url"}]
    wire.on("POST images", document({"error": "the request is not valid", "details": faults}, 400))
    ended = run("create", "-f", request_file)
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "goldenpipe: the request has 2 faults:",
        "  cpu: must be 1 or more",
        "  request: needs base_iso_url",
    ]


def test_create_wait_ends_when_the_image_is_ready(wire: Wire, run: Run, request_file: str) -> None:
    wire.on("POST images", document({"image": image(status="creating")}, 202))
    wire.on(
        "GET images/img/status?watch=true", stream(status("creating", "a=in_progress"), status("ready", "a=completed"))
    )
    wire.on("GET images/img", document(image(size="1.2Gi")))
    ended = run("create", "-f", request_file, "--wait")
    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith("img is ready.")
    ended = run("create", "-f", request_file, "--wait", "-o", "json")
    assert json.loads(ended.out)["size"] == "1.2Gi"
    assert "ready" in ended.err


def test_create_wait_of_a_build_that_fails_exits_1_with_reason_and_hint(
    wire: Wire, run: Run, request_file: str
) -> None:
    failed = status("failed", "install_packages=failed")
    failed["error"] = {"message": "package helm not found", "step": "install_packages", "hint": "Try helm3."}
    wire.on("POST images", document({"image": image(status="creating")}, 202))
    wire.on("GET images/img/status?watch=true", stream(failed))
    ended = run("create", "-f", request_file, "--wait")
    assert ended.code == 1
    assert "goldenpipe: image img failed in step install_packages: package helm not found\nTry helm3.\n" in ended.err


def test_waiting_goes_on_when_the_service_is_restarted_meanwhile(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document(status("creating", "a=in_progress")))
    wire.on(
        "GET images/img/status?watch=true",
        stream(status("creating", "a=in_progress", message="one"), cut=True),
        document({"error": "starting"}, 503),
        stream(status("creating", "a=in_progress", message="two")),
        stream(status("ready", "a=completed", message="three")),
    )
    ended = run("status", "img", "--watch")
    assert ended.code == 0
    said = [line.split()[-1] for line in ended.out.splitlines()[:3]]
    assert said == ["one", "two", "three"]


def test_watching_an_image_that_somebody_deletes_ends_with_that_reason(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document(status("creating", "a=in_progress")))
    gone = document({"error": "there is no image img"}, 404)
    wire.on("GET images/img/status?watch=true", stream(status("deleting", "a=in_progress")), gone)
    ended = run("status", "img", "--watch")
    assert ended.code == 1
    assert "image img was deleted while it was being built" in ended.err


def test_status_of_a_failed_image_shows_the_hint_and_succeeds(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document(status("failed", "a=failed", message="package helm not found")))
    wire.on(
        "GET images/img", document(image(status="failed", error={"message": "m", "step": "a", "hint": "Try helm3."}))
    )
    ended = run("status", "img")
    assert ended.code == 0
    assert ended.out.splitlines()[:2] == ["img  failed  40%  package helm not found", "Try helm3."]


def test_status_of_no_image_is_the_services_own_sentence(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document({"error": "there is no image img"}, 404))
    ended = run("status", "img", "--watch")
    assert (ended.code, ended.err) == (1, "goldenpipe: there is no image img\n")


def test_list_sends_its_filters_and_follows_all_pages(wire: Wire, run: Run) -> None:
    query = "label=a%3Db&label=c%3Dd&status=ready&os_type=linux"
    wire.on(
        f"GET images?{query}", document({"images": [image("one", labels={"a": "b"})], "count": 1, "continue": "x="})
    )
    wire.on(f"GET images?{query}&continue=x%3D", document({"images": [image("two", size="1Gi")], "count": 1}))
    ended = run("list", "-l", "a=b", "--label", "c=d", "--status", "ready", "--os-type", "linux")
    assert [line.split()[:4] for line in ended.out.splitlines()[1:]] == [
        ["one", "linux", "ready", "-"],
        ["two", "linux", "ready", "1Gi"],
    ]


def test_an_empty_list_as_json_is_a_list(wire: Wire, run: Run) -> None:
    wire.on("GET images", document({"images": [], "count": 0}))
    assert run("list", "-o", "json").out == "[]\n"
    assert run("list").err == "No images.\n"


def test_vms_shows_which_image_each_is_for(wire: Wire, run: Run) -> None:
    vm = {"name": "vm-1", "image_name": "img", "status": "running", "ip": "10.0.0.1", "cpu": 2, "memory": "1Gi"}
    wire.on("GET vms", document({"vms": [vm], "count": 1}))
    assert run("vms").out.splitlines()[1].split() == ["vm-1", "img", "running", "10.0.0.1", "2", "1Gi", "-"]


def test_delete_wait_ends_when_the_service_says_it_is_gone(wire: Wire, run: Run) -> None:
    wire.on("DELETE images/img", document({"message": "Image deletion started"}))
    gone = document({"error": "there is no image img"}, 404)
    wire.on("GET images/img/status?watch=true", stream(status("deleting", "a=completed")), gone)
    ended = run("delete", "img", "--wait")
    assert (ended.code, ended.out) == (0, "img is deleted.\n")
    assert wire.asked.count("GET images/img/status?watch=true") == 2


def test_logs_prints_each_step_below_its_name_and_leaves_out_those_that_did_nothing(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document(status("ready", "a=completed", "b=skipped", "c=completed")))
    wire.on("GET images/img/steps/a/logs", Answer(b"one\n", chunked=True))
    wire.on("GET images/img/steps/c/logs", Answer(b"two", chunked=True))
    assert run("logs", "img").out == "==> a <==\none\n\n==> c <==\ntwo\n"


def test_following_a_log_over_a_lost_connection_repeats_and_loses_nothing(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document(status("creating", "a=in_progress")))
    wire.on(
        "GET images/img/steps/a/logs?follow=true",
        Answer(b"one\ntw", chunked=True, cut=True),
        Answer(b"one\ntwo\nthree\n", chunked=True),
    )
    assert run("logs", "img", "a", "-f").out == "one\ntwo\nthree\n"


def test_following_waits_for_a_step_that_has_not_begun(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document(status("creating", "a=in_progress", "b=pending")))
    begun = stream(status("creating", "a=in_progress", "b=pending"), status("creating", "a=completed", "b=in_progress"))
    wire.on("GET images/img/status?watch=true", begun)
    wire.on("GET images/img/steps/b/logs?follow=true", Answer(b"hello\n", chunked=True))
    assert run("logs", "img", "b", "-f").out == "hello\n"


def test_logs_of_a_step_that_does_not_exist_names_those_that_do(wire: Wire, run: Run) -> None:
    wire.on("GET images/img/status", document(status("creating", "a=in_progress", "b=pending")))
    ended = run("logs", "img", "x")
    assert (ended.code, ended.err) == (1, "goldenpipe: image img has no step x.\nIts steps: a, b.\n")


DISK = b"QFI\xfb" + b"x" * 3_000_000


def test_a_screenshot_is_a_file_or_the_servers_reason(wire: Wire, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "screen.png"
    wire.on("GET images/img/screenshot", Answer(b"\x89PNG\r\n\x1a\n..."))
    assert run("screenshot", "img", "--out", str(out)).code == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    wire.on("GET images/img/screenshot", Answer(b"<html>"))
    ended = run("screenshot", "img", "--out", str(out))
    assert ended.code == 1
    assert "no PNG" in ended.err
    wire.on(
        "GET images/img/screenshot",
        document({"error": "there is no screenshot of image 'img': no VM of it runs now"}, 404),
    )
    assert "no VM of it runs now" in run("screenshot", "img", "--out", str(tmp_path / "b.png")).err
    assert [path.name for path in tmp_path.glob("*.p*")] == ["screen.png"]


def test_export_leaves_a_whole_file_and_no_part(wire: Wire, run: Run, tmp_path: Path) -> None:
    wire.on("GET images/img/export", Answer(DISK))
    out = tmp_path / "img.qcow2"
    ended = run("export", "img", "--out", str(out))
    assert ended.code == 0
    assert out.read_bytes() == DISK
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(DISK, length=len(DISK) + 5), "the connection was lost after 2.9Mi of 2.9Mi"),
        (Answer(DISK, chunked=True, cut=True), "the connection was lost after"),
        (Answer(b"<html>hello</html>"), "is no qcow2"),
        (Answer(b""), "the connection was lost after 0B"),
        (document({"error": "image img is not ready: it is creating"}, 409), "image img is not ready"),
    ],
)
def test_an_export_that_goes_wrong_leaves_the_file_of_before(
    wire: Wire, run: Run, tmp_path: Path, answer: Answer, message: str
) -> None:
    out = tmp_path / "img.qcow2"
    out.write_bytes(b"old")
    wire.on("GET images/img/export", answer)
    ended = run("export", "img", "--out", str(out))
    assert ended.code == 1
    assert message in ended.err
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(out, b"old")]


GZIP = (("X-Disk-Format", "gzip"),)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_a_raw_disk_that_a_kubevirt_cluster_sends_becomes_a_qcow2(wire: Wire, run: Run, tmp_path: Path) -> None:
    disk = b"boot" + bytes(5 << 20) + b"end!" + bytes((1 << 20) - 8)
    wire.on("GET images/img/export", Answer(gzip.compress(disk), headers=GZIP))
    out = tmp_path / "img.qcow2"
    assert run("export", "img", "--out", str(out)).code == 0
    subprocess.run(["qemu-img", "convert", "-O", "raw", out, tmp_path / "raw"], check=True)
    assert (tmp_path / "raw").read_bytes() == disk
    assert sorted(tmp_path.iterdir()) == [out, tmp_path / "raw"]


def test_a_broken_raw_disk_is_one_sentence_and_leaves_nothing(wire: Wire, run: Run, tmp_path: Path) -> None:
    wire.on("GET images/img/export", Answer(gzip.compress(b"x" * 9000)[:-20], headers=GZIP))
    ended = run("export", "img", "--out", str(tmp_path / "img.qcow2"))
    assert ended.code == 1
    assert "cannot be converted" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_export_to_a_folder_that_does_not_exist_is_one_sentence(wire: Wire, run: Run, tmp_path: Path) -> None:
    wire.on("GET images/img/export", Answer(DISK))
    ended = run("export", "img", "--out", str(tmp_path / "none" / "img.qcow2"))
    assert ended.code == 1
    assert ended.err.endswith("img.qcow2: no such file or directory.\n")


def test_an_answer_that_is_not_goldenpipes_is_told_as_such(wire: Wire, run: Run) -> None:
    wire.on("GET images", Answer(b"<html>a router's login page</html>"))
    assert "not as GoldenPipe does; is the address right?" in run("list").err
    wire.on("GET images", Answer(b"Bad Gateway", status=502))
    assert "the server answered 502, and not as GoldenPipe does" in run("list").err
