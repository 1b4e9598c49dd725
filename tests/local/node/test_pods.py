"""Pods as processes of the host, run by the agent on a real API server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from goldenpipe_kube import Kube, KubeError
from goldenpipe_local.node.processes import ProcessId, group_members
from support.pods import a_pod, ended, in_phase, log_of, sh, terminated
from support.watching import until, until_gone

pytestmark = pytest.mark.usefixtures("agent")


async def test_a_command_that_ends_well_makes_the_pod_succeeded(kube: Kube) -> None:
    await kube.create(sh("echo hello; echo trouble >&2"))
    pod = await ended(kube)
    assert pod["status"]["phase"] == "Succeeded"
    assert terminated(pod)["exitCode"] == 0
    assert terminated(pod)["reason"] == "Completed"
    conditions = {each["type"]: each for each in pod["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == "PodCompleted"
    assert conditions["PodScheduled"]["status"] == "True"
    assert pod["spec"]["nodeName"] == "local"
    assert await log_of(kube) == "hello\ntrouble\n"


async def test_the_exit_code_and_the_termination_message_are_told(kube: Kube) -> None:
    await kube.create(sh('echo "package helm not found" > /dev/termination-log; exit 20'))
    pod = await ended(kube)
    assert pod["status"]["phase"] == "Failed"
    assert terminated(pod)["exitCode"] == 20
    assert terminated(pod)["reason"] == "Error"
    assert terminated(pod)["message"] == "package helm not found\n"


async def test_a_long_termination_message_is_cut_to_4096_bytes(kube: Kube) -> None:
    await kube.create(sh("head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log"))
    assert terminated(await ended(kube))["message"] == "x" * 4096


async def test_the_log_stands_in_for_a_termination_message_when_asked_for(kube: Kube) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    await kube.create(sh("echo it broke; exit 3", container=policy))
    assert terminated(await ended(kube))["message"] == "it broke"


async def test_a_command_that_does_not_exist_is_a_start_error(kube: Kube) -> None:
    await kube.create(a_pod("goldenpipe-no-such-step"))
    pod = await ended(kube)
    assert terminated(pod)["reason"] == "StartError"
    assert terminated(pod)["exitCode"] == 128
    assert '"goldenpipe-no-such-step": executable file not found' in terminated(pod)["message"]


async def test_a_pod_runs_through_the_phases_of_a_real_one(kube: Kube, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await kube.create(sh(f"cat {gate}"))
    running = await until(kube, "Pod", in_phase("Running"), name="step")
    status = running["status"]
    assert status["podIP"] == "127.0.0.1"
    assert "running" in status["containerStatuses"][0]["state"]
    assert status["containerStatuses"][0]["ready"] is True
    await asyncio.to_thread(gate.write_text, "done")
    assert (await ended(kube))["status"]["phase"] == "Succeeded"
    await until(kube, "Event", lambda event: event["reason"] == "Started")


async def test_mounted_secrets_are_found_by_their_mount_path_and_gone_when_the_pod_ends(
    kube: Kube, tmp_path: Path
) -> None:
    await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "input"},
            "stringData": {"input.json": "{}", "k": "v"},
        }
    )
    script = "cat $INPUT; stat -c %a $INPUT; echo $KEY; echo --file=/in/put/input.json; pwd; cat /in/put/k"
    mount = {"name": "input", "mountPath": "/in/put"}
    env = [
        {"name": "INPUT", "value": "/in/put/input.json"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "input", "key": "k"}}},
    ]
    volume = {"name": "input", "secret": {"secretName": "input"}}
    await kube.create(sh(script, volumes=[volume], container={"volumeMounts": [mount], "env": env}))
    pod = await ended(kube)
    folder = tmp_path / "cluster" / "pods" / pod["metadata"]["uid"]
    assert (await log_of(kube)).splitlines() == [
        "{}600",
        "v",
        f"--file={folder}/volumes/input/input.json",
        f"{folder}/home",
        "v",
    ]
    assert not (folder / "volumes").exists()
    assert not list(folder.rglob("container.json"))


async def test_a_pod_waits_for_its_secret_and_says_so(kube: Kube) -> None:
    volume = {"name": "input", "secret": {"secretName": "late"}}
    await kube.create(a_pod("true", volumes=[volume]))
    event = await until(kube, "Event", lambda event: event["reason"] == "FailedMount")
    assert 'secret "late" not found' in event["message"]
    pod = await kube.get("Pod", "step")
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
    await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}})
    assert (await ended(kube))["status"]["phase"] == "Succeeded"


async def test_the_environment_is_the_containers_own(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_HOST", "leaked")
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['job']"}}},
        {"name": "BOTH", "value": "$(NAME)-$(LABEL)-$$(NAME)"},
    ]
    script = 'echo "$NAME $LABEL $BOTH [$OF_THE_HOST] ${PATH%%:*} ${KUBECONFIG##*/}"'
    await kube.create(sh(script, container={"env": env}))
    await ended(kube)
    programs = Path(sys.executable).parent
    assert await log_of(kube) == f"step tiny step-tiny-$(NAME) [] {programs} kubeconfig-goldenpipe-step\n"


async def test_a_pod_without_a_token_cannot_reach_the_api(kube: Kube) -> None:
    await kube.create(sh('echo "[$KUBECONFIG]"', automountServiceAccountToken=False))
    await ended(kube)
    assert await log_of(kube) == "[]\n"


async def test_a_followed_log_comes_while_the_container_runs_and_ends_with_it(kube: Kube, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await kube.create(sh(f"echo one; cat {gate}; echo three"))
    await until(kube, "Pod", in_phase("Running"), name="step")
    seen = b""
    async with asyncio.timeout(10):
        async for chunk in kube.logs("step", follow=True):
            if not seen:
                await asyncio.to_thread(gate.write_text, "two\n")
            seen += chunk
    assert seen == b"one\ntwo\nthree\n"


async def test_only_the_last_lines_of_a_log_are_sent_when_asked_for(kube: Kube) -> None:
    await kube.create(sh("seq 1 1000"))
    await ended(kube)
    tail = b"".join([chunk async for chunk in kube.logs("step", tail_lines=2)])
    assert tail == b"999\n1000\n"


async def test_lines_longer_than_a_runtime_writes_at_once_come_out_whole(kube: Kube) -> None:
    await kube.create(sh("head -c 50000 /dev/zero | tr '\\0' x; echo; echo end"))
    await ended(kube)
    assert await log_of(kube) == "x" * 50000 + "\nend\n"


async def test_deleting_a_pod_gives_it_time_to_end(kube: Kube, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"trap 'echo bye > {mark}; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    await kube.create(sh(script, terminationGracePeriodSeconds=20))
    await until(kube, "Pod", in_phase("Running"), name="step")
    async for _ in kube.logs("step", follow=True):
        break  # the trap is set
    await kube.delete("Pod", "step")
    await until_gone(kube, "Pod", "step")
    assert mark.read_text() == "bye\n"
    assert list((tmp_path / "cluster" / "pods").iterdir()) == []


async def test_a_pod_that_will_not_end_is_killed_with_all_its_children(kube: Kube) -> None:
    script = "trap '' TERM; (trap '' TERM; sleep 1000) & echo $$; wait"
    await kube.create(sh(script, terminationGracePeriodSeconds=1))
    await until(kube, "Pod", in_phase("Running"), name="step")
    group = 0
    async for chunk in kube.logs("step", follow=True):
        group = int(chunk)
        break
    assert group_members(group)
    await kube.delete("Pod", "step")
    await until_gone(kube, "Pod", "step")
    assert group_members(group) == []


async def test_children_that_a_container_leaves_behind_end_with_it(kube: Kube) -> None:
    await kube.create(sh("sleep 1000 & echo $$"))
    await ended(kube)
    assert group_members(int(await log_of(kube))) == []


async def test_a_container_whose_shim_was_killed_is_reported_as_unknown_and_killed(kube: Kube, tmp_path: Path) -> None:
    await kube.create(sh("echo $$; sleep 1000"))
    running = await until(kube, "Pod", in_phase("Running"), name="step")
    group = 0
    async for chunk in kube.logs("step", follow=True):
        group = int(chunk)
        break
    uid = running["metadata"]["uid"]
    record = (tmp_path / "cluster" / "pods" / uid / "container" / "process.json").read_text()
    shim = ProcessId(**json.loads(record)["shim"])
    children = [ProcessId.of(pid) for pid in group_members(group)]
    assert children
    assert shim.send_signal(signal.SIGKILL)
    pod = await ended(kube)
    assert pod["status"]["phase"] == "Failed"
    assert terminated(pod)["reason"] == "ContainerStatusUnknown"
    assert terminated(pod)["exitCode"] == 137
    async with asyncio.timeout(10):
        for child in children:
            assert child is not None
            await child.ended()


async def test_a_pod_that_wants_to_be_restarted_is_refused_with_words(kube: Kube) -> None:
    await kube.create(sh("true", restartPolicy="OnFailure"))
    pod = await ended(kube)
    assert pod["status"]["phase"] == "Failed"
    assert "restartPolicy: Never" in pod["status"]["message"]


async def test_a_step_killed_by_a_signal_has_the_exit_code_of_that_signal(kube: Kube) -> None:
    await kube.create(sh("kill -9 $$"))
    assert terminated(await ended(kube))["exitCode"] == 137


async def test_the_log_of_a_pod_that_has_not_started_says_why_there_is_none(kube: Kube) -> None:
    await kube.create(a_pod("true", volumes=[{"name": "v", "secret": {"secretName": "never"}}]))
    await until(kube, "Event", lambda event: event["reason"] == "FailedMount")
    with pytest.raises(KubeError, match="waiting to start: ContainerCreating"):
        await log_of(kube)
