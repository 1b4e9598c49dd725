"""The local cluster as a whole: API server, Job controller and node agent over one folder."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from goldenpipe_kube import Kube, Object
from goldenpipe_local.cluster import ClusterBusyError, LocalCluster
from support.watching import until


def a_job(name: str, script: str) -> Object:
    container = {"name": "step", "image": "registry.lab/step:1", "command": ["/bin/sh", "-c", script]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }


def is_complete(job: Object) -> bool:
    return bool((job.get("status") or {}).get("completionTime"))


async def log_of(kube: Kube, job: str) -> bytes:
    (pod,) = await kube.list("Pod", labels=f"job-name={job}")
    return b"".join([chunk async for chunk in kube.logs(pod["metadata"]["name"])])


async def test_a_job_runs_as_a_process_and_its_log_is_there(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path) as cluster, await Kube.connect(cluster.kubeconfig) as kube:
        assert kube.namespace == "goldenpipe-system"
        await kube.create(a_job("one", "echo hello; echo world"))
        await until(kube, "Job", is_complete, name="one")
        assert await log_of(kube, "one") == b"hello\nworld\n"


async def test_a_job_goes_on_while_its_cluster_is_restarted(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with LocalCluster(tmp_path) as cluster, await Kube.connect(cluster.kubeconfig) as kube:
        before = cluster.address, cluster.kubeconfig.read_text()
        await kube.create(a_job("one", f"echo begun; cat {gate}"))
        await until(kube, "Job", lambda job: (job.get("status") or {}).get("ready") == 1, name="one")
    async with LocalCluster(tmp_path) as cluster, await Kube.connect(cluster.kubeconfig) as kube:
        assert (cluster.address, cluster.kubeconfig.read_text()) == before
        await asyncio.to_thread(gate.write_text, "ended\n")
        job = await until(kube, "Job", is_complete, name="one")
        assert job["status"]["succeeded"] == 1
        assert await log_of(kube, "one") == b"begun\nended\n"


async def test_a_second_cluster_on_the_same_folder_is_refused_and_told_whose_it_is(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path):
        with pytest.raises(ClusterBusyError, match=f"process {os.getpid()} already runs a local cluster"):
            async with LocalCluster(tmp_path):
                pass
    async with LocalCluster(tmp_path):
        pass


async def test_the_lock_of_a_killed_cluster_is_free(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from goldenpipe_local.cluster import LocalCluster\n"
        "async def main():\n"
        "    async with LocalCluster(Path(sys.argv[1])):\n"
        "        print('up', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"up\n"
    process.kill()
    await process.wait()
    async with LocalCluster(tmp_path) as cluster, await Kube.connect(cluster.kubeconfig) as kube:
        await kube.healthy()
