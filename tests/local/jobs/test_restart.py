"""The controller may die at any moment; the next one takes over."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from goldenpipe_local.jobs import JobController
from goldenpipe_local.jobs.backoff import Backoff
from support.kubelet import BACKOFF, Kubelet, a_job
from support.watching import until, until_gone


@asynccontextmanager
async def running(api: ApiServer, backoff: Backoff = BACKOFF) -> AsyncIterator[JobController]:
    async with (
        await Kube.connect(api.kubeconfig_of("jobs")) as connection,
        JobController(connection, backoff=backoff) as controller,
    ):
        yield controller


def is_complete(job: dict[str, dict[str, object]]) -> bool:
    return bool(job["status"].get("completionTime"))


async def test_a_pod_that_ended_while_no_controller_ran_is_counted_once(
    local_api: ApiServer, kube: Kube, kubelet: Kubelet
) -> None:
    await kube.create(a_job())
    async with running(local_api):
        pod = await kubelet.next_pod()
    await kubelet.end(pod, 0)
    async with running(local_api):
        job = await until(kube, "Job", is_complete, name="step")
    assert job["status"]["succeeded"] == 1
    assert len(await kube.list("Pod")) == 1


async def test_a_death_between_the_two_writes_loses_no_pod_and_counts_none_twice(
    local_api: ApiServer, kube: Kube, kubelet: Kubelet
) -> None:
    await kube.create(a_job(backoffLimit=5))
    async with running(local_api):
        pod = await kubelet.next_pod()
    uid = (await kube.get("Pod", pod))["metadata"]["uid"]
    await kubelet.end(pod, 1)
    # the dead controller had written who ended, had let the Pod go, and had not counted
    first_write = {"uncountedTerminatedPods": {"failed": [uid]}}
    await kube.patch("Job", "step", {"status": first_write}, subresource="status")
    await kube.patch("Pod", pod, {"metadata": {"finalizers": None}})
    await kube.delete("Pod", pod)
    await until_gone(kube, "Pod", pod)
    async with running(local_api):
        job = await until(kube, "Job", lambda job: job["status"].get("failed"), name="step")  # type: ignore[arg-type]
    assert job["status"]["failed"] == 1
    assert job["status"]["uncountedTerminatedPods"] == {}


async def test_a_restart_does_not_shorten_the_pause_between_tries(
    local_api: ApiServer, kube: Kube, kubelet: Kubelet
) -> None:
    await kube.create(a_job())
    async with running(local_api, Backoff(first_seconds=1.0)):
        first = await kubelet.next_pod()
        before = time.monotonic()
        await kubelet.end(first, 1)
        await until(kube, "Job", lambda job: job["status"].get("failed") == 1, name="step")
    async with running(local_api, Backoff(first_seconds=1.0)):
        await kubelet.next_pod(besides=(first,))
    assert time.monotonic() - before > 0.95


async def test_a_deadline_that_passed_while_no_controller_ran_still_counts(
    local_api: ApiServer, kube: Kube, kubelet: Kubelet
) -> None:
    await kube.create(a_job(activeDeadlineSeconds=3600))
    async with running(local_api):
        await kubelet.next_pod()
    long_ago = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await kube.patch("Job", "step", {"status": {"startTime": long_ago}}, subresource="status")
    async with running(local_api):
        job = await until(kube, "Job", lambda job: bool(job["status"].get("conditions")), name="step")
    assert job["status"]["conditions"][0]["reason"] == "DeadlineExceeded"


async def test_pods_of_a_job_deleted_while_no_controller_ran_do_not_stay_for_ever(
    local_api: ApiServer, kube: Kube, kubelet: Kubelet
) -> None:
    await kube.create(a_job())
    async with running(local_api):
        pod = await kubelet.next_pod()
    await kubelet.end(pod, 0)
    await kube.delete("Job", "step", propagation="Background")
    await until(kube, "Pod", lambda found: bool(found["metadata"].get("deletionTimestamp")), name=pod)
    async with running(local_api):
        await until_gone(kube, "Pod", pod)


async def test_a_pod_whose_creation_was_never_confirmed_is_adopted_not_doubled(
    local_api: ApiServer, kube: Kube, kubelet: Kubelet
) -> None:
    await kube.create(a_job())
    async with running(local_api):
        pod = await kubelet.next_pod()
        await until(kube, "Job", lambda job: job["status"].get("active") == 1, name="step")
    # as if the controller had died before it wrote anything about the Pod
    status = {"active": None, "startTime": None, "ready": None}
    await kube.patch("Job", "step", {"status": status}, subresource="status")
    async with running(local_api):
        await until(kube, "Job", lambda job: job["status"].get("active") == 1, name="step")
    assert [found["metadata"]["name"] for found in await kube.list("Pod")] == [pod]


async def test_the_controller_carries_on_when_the_api_server_is_restarted(
    local_api: ApiServer, kubelet: Kubelet, kube: Kube
) -> None:
    async with running(local_api):
        await kube.create(a_job())
        pod = await kubelet.next_pod()
        await local_api.__aexit__(None, None, None)
        await local_api.__aenter__()
        await kubelet.end(pod, 0)
        job = await until(kube, "Job", is_complete, name="step")
    assert job["status"]["succeeded"] == 1
