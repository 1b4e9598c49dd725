"""Builds from request to end, with shell commands as steps: on the whole local cluster, and on a real control plane."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_kube import Kube
from support.controlplane import SERVICE, Cluster, ControlPlane, grant
from support.rest import Object, Rest
from support.templates import Overlay

IMAGES = "/api/v1/images"
ALL_BUT_THE_RECORD = "goldenpipe.io/image=a,!goldenpipe.io/record"


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay")


@pytest.fixture
def settings(tmp_path: Path, overlay: Overlay) -> Settings:
    (tmp_path / "overlay" / "templates").mkdir(exist_ok=True)
    return Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,))


@pytest.fixture
async def rest(cluster: Cluster, settings: Settings) -> AsyncIterator[Rest]:
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    async with await Kube.connect(cluster.admin) as client:
        yield client


def steps_of(status: Object) -> dict[str, str]:
    return {step["name"]: step["status"] for step in status["steps"]}


async def test_steps_run_in_order_and_the_image_becomes_ready(rest: Rest, overlay: Overlay) -> None:
    for name in ("one", "two", "three"):
        overlay.step(name)
    await rest.create("a")
    status = await rest.end("a")
    assert (status["status"], status["progress"]) == ("ready", 100)
    assert overlay.ran() == ["one", "two", "three"]
    assert all("ended_at" in step for step in status["steps"])


async def test_progress_never_goes_back_and_moves_inside_a_step(rest: Rest, overlay: Overlay) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"echo '[ 40%] Fetching nginx (2 of 5)'; read _ < {gate}; echo '[ 10%] Late'")
    overlay.step("two")
    await rest.create("a")
    seen: list[tuple[int, str]] = []
    async for status in rest.statuses("a"):
        seen.append((status["progress"], status["message"]))
        if status["message"] == "Fetching nginx (2 of 5)":
            assert status["progress"] == 20
            await asyncio.to_thread(gate.open)
    assert [progress for progress, _ in seen] == sorted(progress for progress, _ in seen)
    assert (20, "Fetching nginx (2 of 5)") in seen


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
async def test_kubectl_tells_the_story_of_a_build_by_its_images_name(
    rest: Rest, overlay: Overlay, cluster: Cluster
) -> None:
    for name in ("one", "two", "three"):
        overlay.step(name, f"echo the story of {name}; echo and its end")
    await rest.create("a")
    await rest.end("a")
    # kubectl asks the Pods in no order of its own; their names begin with the build and the number of the step
    command = ["logs", "-l", "goldenpipe.io/image=a", "--tail=-1", "--prefix"]
    process = await asyncio.create_subprocess_exec(
        "kubectl", f"--kubeconfig={cluster.admin}", *command, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    lines = sorted((line.split(maxsplit=1) for line in out.decode().splitlines()), key=lambda parts: parts[0])
    assert [words for _, words in lines] == [
        line for name in ("one", "two", "three") for line in (f"the story of {name}", "and its end")
    ]


async def test_a_failing_step_ends_the_build_with_its_own_words_and_keeps_its_log(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    message = r'"package helm not found\n{\"hint\": \"use another name\"}"'
    overlay.step("one", f"echo looking for helm; printf {message} > $GOLDENPIPE_TERMINATION_LOG; exit 20").step("two")
    await rest.create("a")
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert status["error"] == {"message": "package helm not found", "step": "one", "hint": "use another name"}
    assert steps_of(status) == {"one": "failed", "two": "pending"}
    assert "looking for helm" in await rest.text(f"{IMAGES}/a/steps/one/logs")
    await kube.delete("Job", status_job(await kube.list("Job")))
    assert "looking for helm" in await rest.text(f"{IMAGES}/a/steps/one/logs")


def status_job(jobs: list[Object]) -> str:
    assert len(jobs) == 1
    return str(jobs[0]["metadata"]["name"])


async def test_a_step_that_may_be_tried_again_is(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one", f"test $(grep -c one {overlay.runs}) -gt 1 || exit 10", retries=1)
    await rest.create("a")
    assert (await rest.end("a", seconds=90))["status"] == "ready"
    assert overlay.ran() == ["one", "one"]


async def test_a_step_that_passes_its_deadline_fails_and_says_which(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one", f"read _ < {overlay.gate('never')}", timeout=1)
    await rest.create("a")
    status = await rest.end("a")
    assert "deadline of 1 s" in status["error"]["message"]


async def test_a_killed_step_is_a_failure_with_its_exit_code(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one", "kill -9 $$$$")
    await rest.create("a")
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert "137" in status["error"]["message"]


async def test_a_command_that_does_not_exist_is_named(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one", command=["no-such-program-at-all"], timeout=20)
    await rest.create("a")
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert "no-such-program-at-all" in status["error"]["message"]


async def test_a_job_deleted_behind_our_back_fails_the_build_and_says_so(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one", f"echo started; read _ < {overlay.gate('never')}").step("two")
    await rest.create("a")
    await rest.log_line("a", "one", "started")
    await kube.delete("Job", status_job(await kube.list("Job")))
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert "was deleted while it ran" in status["error"]["message"]
    assert overlay.ran() == ["one"]


async def test_a_log_can_be_followed_while_the_step_runs_until_it_ends(rest: Rest, overlay: Overlay) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"echo first; read _ < {gate}; echo second")
    await rest.create("a")
    lines = []
    async with rest.session.get(f"{rest.address}{IMAGES}/a/steps/one/logs?follow=true") as answer:
        assert answer.content_type == "text/plain"
        async for line in answer.content:
            lines.append(line.decode().strip())
            if lines == ["first"]:
                await asyncio.to_thread(gate.open)
    assert lines == ["first", "second"]


async def test_deleting_a_running_build_stops_its_step_and_leaves_nothing(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    overlay.step("one", f"echo $$$$ > {pid}; echo started; read _ < {overlay.gate('never')}")
    await rest.create("a")
    await rest.log_line("a", "one", "started")
    await rest.call("DELETE", f"{IMAGES}/a")
    _ = [status async for status in rest.statuses("a")]
    assert (await rest.call("GET", f"{IMAGES}/a"))[0] == 404
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    for kind in (
        "Job",
        "Pod",
        "Secret",
        "ConfigMap",
        "DataVolume",
        "PersistentVolumeClaim",
        "VirtualMachine",
        "DataSource",
    ):
        assert await kube.list(kind, labels="goldenpipe.io/image=a") == [], kind
    assert not list((tmp_path / "data" / "logs").rglob("*.log*"))


async def test_a_build_waits_for_a_slot_and_then_runs(cluster: Cluster, settings: Settings, overlay: Overlay) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"read _ < {gate}")
    one_at_a_time = replace(settings, max_builds=1)
    async with (
        running(one_at_a_time, kubeconfig=cluster.kubeconfig) as service,
        aiohttp.ClientSession() as session,
    ):
        rest = Rest(service.address, session)
        assert (await rest.create("a"))["image"]["status"] == "creating"
        assert (await rest.create("b"))["image"]["status"] == "pending"
        await asyncio.to_thread(gate.open)
        await rest.end("a")
        await asyncio.to_thread(gate.open)
        assert (await rest.end("b"))["status"] == "ready"


async def test_a_broken_template_is_told_before_anything_is_made(rest: Rest, overlay: Overlay, kube: Kube) -> None:
    overlay.step("one", colour="red")
    document = {"name": "a", "os_type": "linux", "base_iso_url": "https://h/b.qcow2"}
    status, body = await rest.call("POST", IMAGES, json=document)
    assert status == 503
    assert "steps/one.yaml" in body["error"]
    assert "colour" in body["error"]
    assert await kube.list("Job") == []


async def test_a_build_keeps_the_templates_it_started_with(rest: Rest, overlay: Overlay) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"read _ < {gate}").step("two", "echo as it was")
    await rest.create("a")
    overlay.step("two", "echo changed meanwhile; exit 20")
    await asyncio.to_thread(gate.open)
    assert (await rest.end("a"))["status"] == "ready"
    assert "as it was" in await rest.text(f"{IMAGES}/a/steps/two/logs")


async def test_an_overlay_is_read_afresh_for_every_new_build(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one")
    await rest.create("a")
    await rest.end("a")
    overlay.step("two")
    await rest.create("b")
    assert list(steps_of(await rest.end("b"))) == ["one", "two"]


async def test_an_object_of_somebody_else_is_never_taken_over(rest: Rest, overlay: Overlay, kube: Kube) -> None:
    disk: Object = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "golden-image-a"},
        "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
    }
    await kube.create(disk)
    overlay.step("one", manifests=["disk.yaml"])
    await rest.create("a")
    status = await rest.end("a")
    assert "exists already and is not this build's" in status["error"]["message"]
    assert await kube.find("DataVolume", "golden-image-a") is not None


async def test_what_a_teams_own_manifest_made_goes_with_the_image(
    rest: Rest, overlay: Overlay, kube: Kube, real: ControlPlane | None
) -> None:
    if real:
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "delete"]}
        grant(real, kube.namespace, SERVICE, rule)
    manifest: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "{{ build.id }}-ours", "labels": "{{ build.labels }}"},
        "data": {"key": "value"},
    }
    (overlay.templates / "manifests").mkdir()
    overlay.write("manifests/ours.yaml", manifest)
    gate = overlay.gate("gate")
    overlay.step("one", f"read _ < {gate}", manifests=["ours.yaml"])
    await rest.create("a")
    await asyncio.to_thread(gate.open)
    await rest.end("a")
    assert await kube.list("ConfigMap", labels=ALL_BUT_THE_RECORD) == []


async def test_a_step_with_a_template_that_cannot_be_rendered_names_file_and_line(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one", env={"A": "{{ facts.never_known }}"})
    await rest.create("a")
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert "steps/one.yaml:" in status["error"]["message"]
    assert "lint" in status["error"]["hint"]


async def test_the_users_labels_are_in_the_api_and_ours_are_on_every_object(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one")
    await rest.create("a", labels={"team": "platform"})
    await rest.end("a")
    (job,) = await kube.list("Job", labels="goldenpipe.io/image=a")
    assert job["metadata"]["labels"]["goldenpipe.io/step"] == "one"
    assert job["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "goldenpipe"


async def test_the_input_of_a_step_is_what_its_template_asks_for(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one", "cat $GOLDENPIPE_INPUT", input={"names": "{{ customizations.packages }}"})
    await rest.create("a", customizations={"packages": ["curl"]})
    await rest.end("a")
    document = json.loads(await rest.text(f"{IMAGES}/a/steps/one/logs"))
    assert document["params"] == {"names": ["curl"]}
    assert document["step"] == "one"


async def test_step_durations_and_outcomes_are_counted(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one")
    await rest.create("a")
    await rest.end("a")
    text = await rest.text("/metrics")
    assert 'goldenpipe_builds_total{os_type="linux",outcome="succeeded"} 1.0' in text
    assert 'goldenpipe_step_duration_seconds_count{status="completed",step="one"} 1.0' in text


async def test_no_secret_of_a_build_stays_when_it_has_ended(rest: Rest, overlay: Overlay, kube: Kube) -> None:
    overlay.step("one", needs_vm=True, manifests=["ssh-keys.yaml"])
    await rest.create("a")
    assert (await rest.end("a"))["status"] == "ready"
    assert await kube.list("Secret", labels=ALL_BUT_THE_RECORD) == []


async def test_the_steps_get_the_builds_key_and_the_guests_host_key(rest: Rest, overlay: Overlay) -> None:
    script = "cat $GOLDENPIPE_SSH/host-public-key; echo; head -1 $GOLDENPIPE_SSH/ssh-privatekey; ls $GOLDENPIPE_SSH"
    overlay.step("one", script, needs_vm=True, manifests=["ssh-keys.yaml"])
    await rest.create("a")
    await rest.end("a")
    lines = (await rest.text(f"{IMAGES}/a/steps/one/logs")).splitlines()
    kind, blob = lines[0].split()[:2]
    assert (kind, base64.b64decode(blob)[4:15]) == ("ssh-ed25519", b"ssh-ed25519")
    assert "OPENSSH PRIVATE KEY" in lines[1]
    assert lines[2:] == ["host-public-key", "ssh-privatekey"]


def waiting_for(secret: str) -> Object:
    """A step whose container cannot start before there is this Secret."""
    container = {"name": "step", "volumeMounts": [{"name": "late", "mountPath": "/late"}]}
    spec = {"containers": [container], "volumes": [{"name": "late", "secret": {"secretName": secret}}]}
    return {"spec": {"template": {"spec": spec}}}


async def told(rest: Rest, words: str) -> None:
    """Return when the status says so."""
    async for status in rest.statuses("a"):
        if words in status["message"]:
            return
    raise AssertionError(status)


async def test_a_step_that_waits_for_a_secret_says_which_and_goes_on_when_it_is_there(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one", job=waiting_for("late"))
    await rest.create("a")
    await told(rest, '"late" not found')
    await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}})
    assert (await rest.end("a"))["status"] == "ready"


async def test_a_step_that_never_gets_its_secret_fails_with_that_reason(rest: Rest, overlay: Overlay) -> None:
    overlay.step("one", job=waiting_for("late"), timeout=10)
    await rest.create("a")
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert "deadline of 10 s" in status["error"]["message"]
    assert '"late" not found' in status["error"]["message"]


async def test_the_input_of_a_step_is_made_again_when_somebody_deletes_it_before_its_start(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one", job=waiting_for("late"))
    await rest.create("a")
    await told(rest, '"late" not found')
    job = status_job(await kube.list("Job"))
    await kube.delete("Secret", job)
    await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}})
    assert (await rest.end("a"))["status"] == "ready"
    assert overlay.ran() == ["one"]


async def test_a_build_whose_keys_are_deleted_fails_and_says_so(rest: Rest, overlay: Overlay, kube: Kube) -> None:
    gate = overlay.gate("gate")
    overlay.step("one", f"echo at work; read _ < {gate}", needs_vm=True, manifests=["ssh-keys.yaml"])
    overlay.step("two", needs_vm=True)
    await rest.create("a")
    await rest.log_line("a", "one", "at work")
    (secret,) = [name for each in await kube.list("Secret") if (name := each["metadata"]["name"]).endswith("-ssh")]
    await kube.delete("Secret", secret)
    await asyncio.to_thread(gate.open)
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert f"Secret {secret}" in status["error"]["message"]
    assert "was deleted while the build ran" in status["error"]["message"]
    assert overlay.ran() == ["one"]


WINDOWS = {"os_type": "windows", "base_iso_url": "https://images.example/windows.iso", "accept_eula": True}
PRODUCT_KEY = "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"
_READS_SECRETS = {
    "env": {"SECRETS": "/goldenpipe/secrets"},
    "job": {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "step", "volumeMounts": [{"name": "secrets", "mountPath": "/goldenpipe/secrets"}]}
                    ],
                    "volumes": [{"name": "secrets", "secret": {"secretName": "{{ build.id }}-secrets"}}],
                }
            }
        }
    },
}


async def test_a_windows_password_is_in_one_secret_alone_and_goes_with_the_build(
    rest: Rest, overlay: Overlay, kube: Kube, settings: Settings
) -> None:
    gate = overlay.gate("gate")
    digest = hashlib.sha256(b"Pa$$w0rd").hexdigest()  # the template's own text must not have it either
    script = f'sha256sum "$SECRETS/password-Ada" | grep -q {digest} || exit 20; echo same; read _ < {gate}'
    overlay.step("look", script, **_READS_SECRETS)
    users = [{"name": "Ada", "password": "Pa$$w0rd"}]
    await rest.create("win", **WINDOWS, windows={"product_key": PRODUCT_KEY}, customizations={"users": users})
    await rest.log_line("win", "look", "same")
    [job] = await kube.list("Job")
    build = job["metadata"]["labels"]["goldenpipe.io/build"]
    secret = await kube.find("Secret", f"{build}-secrets")
    assert secret is not None
    kept = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert kept == {"password-Ada": "Pa$$w0rd", "product-key": PRODUCT_KEY}
    ours = [path for path in settings.data_dir.rglob("*") if path.is_file() and "cluster" not in path.parts]
    stored = b"".join(path.read_bytes() for path in ours)
    assert b"password-Ada" in stored
    answers = json.dumps([job, await rest.get(f"{IMAGES}/win"), await rest.get(f"{IMAGES}/win/status")])
    for hidden in ("Pa$$w0rd", PRODUCT_KEY):
        assert hidden.encode() not in stored
        assert hidden not in answers
    gate.open()
    assert (await rest.end("win"))["status"] == "ready"
    assert await kube.find("Secret", f"{build}-secrets") is None


async def test_a_build_whose_secrets_were_deleted_says_so(rest: Rest, overlay: Overlay, kube: Kube) -> None:
    gate = overlay.gate("gate")
    overlay.step("wait", f"echo ready; read _ < {gate}").step("use", needs_vm=True, manifests=["ssh-keys.yaml"])
    await rest.create("win", **WINDOWS, windows={"product_key": PRODUCT_KEY})
    await rest.log_line("win", "wait", "ready")
    [job] = await kube.list("Job")
    name = f"{job['metadata']['labels']['goldenpipe.io/build']}-secrets"
    await kube.delete("Secret", name)
    gate.open()
    status = await rest.end("win")
    assert status["status"] == "failed"
    words = "with the request's passwords and keys was deleted while the build ran; create the image again"
    assert status["error"]["message"] == f"the Secret {name} {words}"
