"""The real kubectl against the local API server, where it is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from support.kubelet import Kubelet, now
from support.objects import a_job

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

Kubectl = Callable[..., Awaitable[str]]


@pytest.fixture
def kubectl(local_api: ApiServer, tmp_path: Path) -> Kubectl:
    async def run(*arguments: str, fails: bool = False, stdin: str = "") -> str:
        environment = {**os.environ, "KUBECONFIG": str(local_api.kubeconfig), "HOME": str(tmp_path)}
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate(stdin.encode())
        assert (process.returncode != 0) is fails, output.decode()
        return output.decode()

    return run


async def test_get_shows_the_columns_of_a_real_cluster(kubectl: Kubectl, kube: Kube) -> None:
    await kube.create(a_job())
    header, row = (await kubectl("get", "jobs")).splitlines()
    assert header.split() == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert row.split()[:3] == ["one", "Running", "0/1"]
    assert (await kubectl("get", "vm,vmi,dv,pvc")).startswith("No resources found")
    assert "job.batch/one" in await kubectl("get", "all")
    assert "app" in await kubectl("get", "job", "one", "-o", "jsonpath={.spec.template.spec.containers[0].name}app")


async def test_describe_tells_a_job_with_its_events(kubectl: Kubectl, kube: Kube) -> None:
    job = await kube.create(a_job())
    about = {"kind": "Job", "name": "one", "namespace": kube.namespace, "uid": job["metadata"]["uid"]}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "one.1"}, "involvedObject": about}
    await kube.create({**event, "reason": "SuccessfulCreate", "message": "Created pod: one-abcde", "type": "Normal"})
    told = await kubectl("describe", "job", "one")
    assert "Backoff Limit:    6" in told
    assert "Created pod: one-abcde" in told


async def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl, kube: Kube) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: '%s'}\n"
    assert await kubectl("apply", "-f", "-", stdin=manifest % 1) == "configmap/one created\n"
    assert await kubectl("apply", "-f", "-", stdin=manifest % 1) == "configmap/one unchanged\n"
    assert await kubectl("apply", "-f", "-", stdin=manifest % 2) == "configmap/one configured\n"
    assert (await kube.get("ConfigMap", "one"))["data"] == {"a": "2"}


async def test_apply_works_on_machines_too(kubectl: Kubectl) -> None:
    manifest = (
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: vm}\n"
        "spec: {runStrategy: %s, template: {spec: {domain: {devices: {}}}}}\n"
    )
    assert "created" in await kubectl("apply", "-f", "-", stdin=manifest % "Manual")
    assert "configured" in await kubectl("apply", "-f", "-", stdin=manifest % "Halted")
    header, row = (await kubectl("get", "vm")).splitlines()
    assert header.split() == ["NAME", "AGE", "STATUS", "READY"]
    assert row.split()[0] == "vm"


async def test_apply_refuses_a_typing_error(kubectl: Kubectl) -> None:
    manifest = (
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: one}\n"
        "spec: {backOffLimit: 1, template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}\n"
    )
    assert 'unknown field "spec.backOffLimit"' in await kubectl("apply", "-f", "-", stdin=manifest, fails=True)


async def test_wait_ends_when_the_condition_is_there(kubectl: Kubectl, kube: Kube) -> None:
    await kube.create(a_job())
    waiting = asyncio.create_task(kubectl("wait", "--for=condition=complete", "job/one", "--timeout=20s"))
    conditions = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"conditions": conditions, "completionTime": now()}
    await kube.patch("Job", "one", {"status": status}, subresource="status")
    assert await waiting == "job.batch/one condition met\n"


async def test_delete_waits_until_all_is_gone(kubectl: Kubectl, kube: Kube) -> None:
    await kube.create(a_job())
    assert (await kubectl("delete", "job", "one")).startswith('job.batch "one" deleted')
    assert await kube.find("Job", "one") is None
    assert "NotFound" in await kubectl("delete", "job", "one", fails=True)


async def test_get_watch_shows_changes(kubectl: Kubectl, kube: Kube) -> None:
    await Kubelet(kube=kube).ready()
    await kube.create(a_job())
    watching = asyncio.create_task(kubectl("get", "jobs", "-w", "--request-timeout=3s"))
    await asyncio.wait([watching], timeout=1)
    await kube.patch("Job", "one", {"status": {"succeeded": 1}}, subresource="status")
    lines = (await watching).splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["0/1", "1/1"]


async def test_a_secret_is_described_without_its_content(kubectl: Kubectl, kube: Kube) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "stringData": {"key": "hidden"}}
    await kube.create(secret)
    assert "hidden" not in await kubectl("describe", "secret", "one")
