"""What a Job does, with a kubelet played by the test."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from goldenpipe_kube import Kube, Object
from support.kubelet import BACKOFF, EXIT_20_FAILS, Kubelet, a_job
from support.watching import story_of, until, until_gone

pytestmark = pytest.mark.usefixtures("controller")


def has(condition: str) -> Callable[[Object], bool]:
    def check(job: Object) -> bool:
        conditions = (job.get("status") or {}).get("conditions") or []
        return any(item["type"] == condition and item["status"] == "True" for item in conditions)

    return check


def condition(job: Object, kind: str) -> Object:
    return next(item for item in job["status"]["conditions"] if item["type"] == kind)


async def ended(kube: Kube, kind: str) -> Object:
    return await until(kube, "Job", has(kind), name="step")


async def reasons(kube: Kube) -> list[str]:
    """Why Events about the Job were written, in order."""
    events = await kube.list("Event", fields="involvedObject.kind=Job")
    return [event["reason"] for event in sorted(events, key=lambda event: int(event["metadata"]["resourceVersion"]))]


async def test_a_job_whose_pod_succeeds_is_complete(kube: Kube, kubelet: Kubelet) -> None:
    created = await kube.create(a_job())
    pod = await kubelet.next_pod()
    await kubelet.start(pod)
    await until(kube, "Job", lambda job: job["status"].get("ready") == 1, name="step")
    await kubelet.end(pod, 0)
    job = await ended(kube, "Complete")

    status = job["status"]
    assert status["succeeded"] == 1
    assert "active" not in status
    assert "failed" not in status
    assert status["uncountedTerminatedPods"] == {}
    assert (status["ready"], status["terminating"]) == (0, 0)
    assert status["startTime"] <= status["completionTime"]
    assert condition(job, "Complete")["reason"] == "CompletionsReached"
    assert condition(job, "Complete")["message"] == "Reached expected number of succeeded pods"
    await until(kube, "Event", lambda event: event["reason"] == "Completed")
    assert await reasons(kube) == ["SuccessfulCreate", "Completed"]
    story = await story_of(kube, "step", created["metadata"]["resourceVersion"])
    assert story.conditions() == [[], ["SuccessCriteriaMet"], ["SuccessCriteriaMet", "Complete"]]


async def test_a_finished_pod_is_in_uncounted_before_it_is_in_succeeded(kube: Kube, kubelet: Kubelet) -> None:
    created = await kube.create(a_job())
    pod = await kubelet.next_pod()
    uid = (await kube.get("Pod", pod))["metadata"]["uid"]
    await kubelet.end(pod, 0)
    await ended(kube, "Complete")

    story = await story_of(kube, "step", created["metadata"]["resourceVersion"])
    told = [(status.get("uncountedTerminatedPods"), status.get("succeeded")) for status in story.statuses]
    assert ({"succeeded": [uid]}, None) in told
    assert told.index(({"succeeded": [uid]}, None)) < told.index(({}, 1))


async def test_the_pod_carries_the_name_labels_owner_and_finalizer_of_its_job(kube: Kube, kubelet: Kubelet) -> None:
    job = await kube.create(a_job())
    pod = await kube.get("Pod", await kubelet.next_pod())
    metadata = pod["metadata"]
    assert metadata["name"].startswith("step-")
    assert len(metadata["name"]) == len("step-") + 5
    assert metadata["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    uid = job["metadata"]["uid"]
    assert metadata["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "step",
        "controller-uid": uid,
        "job-name": "step",
    }
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "step",
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


async def test_a_job_is_complete_within_milliseconds_of_its_pod(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job())
    pod = await kubelet.next_pod()
    await kubelet.start(pod)
    await until(kube, "Job", lambda job: job["status"].get("ready") == 1, name="step")
    begun = time.monotonic()
    await kubelet.end(pod, 0)
    await ended(kube, "Complete")
    # about 10 ms on an idle machine; the real controller and kubelet need two seconds
    assert time.monotonic() - begun < 0.5


async def test_a_job_tries_again_until_its_backoff_limit_is_passed(kube: Kube, kubelet: Kubelet) -> None:
    created = await kube.create(a_job(backoffLimit=1))
    first = await kubelet.next_pod()
    await kubelet.end(first, 1)
    begun = time.monotonic()
    second = await kubelet.next_pod(besides=(first,))
    assert time.monotonic() - begun > BACKOFF.first_seconds * 0.8
    await kubelet.end(second, 1)
    job = await ended(kube, "Failed")

    assert job["status"]["failed"] == 2
    assert condition(job, "Failed")["reason"] == "BackoffLimitExceeded"
    assert condition(job, "Failed")["message"] == "Job has reached the specified backoff limit"
    await until(kube, "Event", lambda event: event["reason"] == "BackoffLimitExceeded")
    assert await reasons(kube) == ["SuccessfulCreate", "SuccessfulCreate", "BackoffLimitExceeded"]
    story = await story_of(kube, "step", created["metadata"]["resourceVersion"])
    assert story.conditions() == [[], ["FailureTarget"], ["FailureTarget", "Failed"]]


async def test_the_pause_before_the_third_try_is_twice_that_before_the_second(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job(backoffLimit=2))
    first = await kubelet.next_pod()
    await kubelet.end(first, 1)
    second = await kubelet.next_pod(besides=(first,))
    await kubelet.end(second, 1)
    begun = time.monotonic()
    await kubelet.next_pod(besides=(first, second))
    assert time.monotonic() - begun > BACKOFF.first_seconds * 2 * 0.9


async def test_exit_20_fails_the_job_at_once_and_says_which_rule_did_it(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job(podFailurePolicy=EXIT_20_FAILS))
    pod = await kubelet.next_pod()
    await kubelet.end(pod, 20)
    job = await ended(kube, "Failed")
    assert job["status"]["failed"] == 1
    assert condition(job, "Failed")["reason"] == "PodFailurePolicy"
    assert condition(job, "Failed")["message"] == (
        f"Container step for pod {kube.namespace}/{pod} failed with exit code 20 matching FailJob rule at index 0"
    )
    assert len(await kube.list("Pod")) == 1


async def test_a_disrupted_pod_is_replaced_and_not_counted(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job(backoffLimit=0, podFailurePolicy=EXIT_20_FAILS))
    first = await kubelet.next_pod()
    await kubelet.end(first, 137, conditions=({"type": "DisruptionTarget", "status": "True"},))
    second = await kubelet.next_pod(besides=(first,))
    await kubelet.end(second, 0)
    job = await ended(kube, "Complete")
    assert "failed" not in job["status"]
    assert "finalizers" not in (await kube.get("Pod", first))["metadata"]


async def test_a_rule_that_counts_counts_though_a_later_one_would_fail_the_job(kube: Kube, kubelet: Kubelet) -> None:
    rules = [
        {"action": "Count", "onExitCodes": {"operator": "In", "values": [20]}},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1]}},
    ]
    await kube.create(a_job(podFailurePolicy={"rules": rules}))
    first = await kubelet.next_pod()
    await kubelet.end(first, 20)
    second = await kubelet.next_pod(besides=(first,))
    await kubelet.end(second, 0)
    job = await ended(kube, "Complete")
    assert (job["status"]["failed"], job["status"]["succeeded"]) == (1, 1)


async def test_a_job_past_its_deadline_fails_when_its_pod_is_gone(kube: Kube, kubelet: Kubelet) -> None:
    created = await kube.create(a_job(activeDeadlineSeconds=1))
    pod = await kubelet.next_pod()
    await kubelet.start(pod)
    await until(kube, "Pod", lambda found: bool(found["metadata"].get("deletionTimestamp")), name=pod)
    job = await ended(kube, "FailureTarget")
    assert not has("Failed")(job)
    await kubelet.end(pod, 137)
    await kubelet.bury(pod)
    job = await ended(kube, "Failed")

    assert condition(job, "Failed")["reason"] == "DeadlineExceeded"
    assert condition(job, "Failed")["message"] == "Job was active longer than specified deadline"
    assert job["status"]["failed"] == 1
    assert "succeeded" not in job["status"]
    await until(kube, "Event", lambda event: event["reason"] == "DeadlineExceeded")
    assert await reasons(kube) == ["SuccessfulCreate", "SuccessfulDelete", "DeadlineExceeded"]
    story = await story_of(kube, "step", created["metadata"]["resourceVersion"])
    assert (1, 1) in [(status.get("failed"), status.get("terminating")) for status in story.statuses]


async def test_deleting_a_running_pod_counts_as_a_failure(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job(podFailurePolicy=EXIT_20_FAILS))
    first = await kubelet.next_pod()
    await kubelet.start(first)
    await kube.delete("Pod", first)
    await until(kube, "Job", lambda job: job["status"].get("terminating") == 1, name="step")
    await kubelet.end(first, 137)
    await kubelet.bury(first)
    await until_gone(kube, "Pod", first)
    second = await kubelet.next_pod(besides=(first,))
    await kubelet.end(second, 0)
    job = await ended(kube, "Complete")
    assert (job["status"]["failed"], job["status"]["succeeded"]) == (1, 1)


async def test_a_pod_deleted_before_it_had_a_node_does_not_stop_the_job(kube: Kube) -> None:
    await kube.create(a_job())
    first = await until(kube, "Pod", lambda _: True)
    await kube.delete("Pod", first["metadata"]["name"])
    await until_gone(kube, "Pod", first["metadata"]["name"])
    second = await until(kube, "Pod", lambda pod: pod["metadata"]["uid"] != first["metadata"]["uid"])
    assert second["metadata"]["name"] != first["metadata"]["name"]
    assert (await kube.get("Job", "step"))["status"]["failed"] == 1


async def test_suspending_a_job_takes_its_pod_and_counts_nothing(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job(backoffLimit=0))
    first = await kubelet.next_pod()
    await kubelet.start(first)
    await kube.patch("Job", "step", {"spec": {"suspend": True}})
    job = await ended(kube, "Suspended")
    assert condition(job, "Suspended")["reason"] == "JobSuspended"
    assert "startTime" not in job["status"]
    await kubelet.end(first, 137)
    await kubelet.bury(first)
    await until(kube, "Job", lambda job: job["status"].get("terminating") == 0, name="step")

    await kube.patch("Job", "step", {"spec": {"suspend": False}})
    second = await kubelet.next_pod(besides=(first,))
    await kubelet.end(second, 0)
    job = await ended(kube, "Complete")
    assert "failed" not in job["status"]
    assert condition(job, "Suspended")["status"] == "False"
    assert condition(job, "Suspended")["reason"] == "JobResumed"
    told = await reasons(kube)
    assert [reason for reason in told if reason in {"Suspended", "Resumed"}] == ["Suspended", "Resumed"]


async def test_a_job_created_suspended_starts_no_pod_before_it_is_resumed(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job(suspend=True))
    await ended(kube, "Suspended")
    assert await kube.list("Pod") == []
    await kube.patch("Job", "step", {"spec": {"suspend": False}})
    await kubelet.next_pod()


async def test_a_finished_job_goes_with_its_pods_when_its_time_to_live_is_over(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job(ttlSecondsAfterFinished=1))
    pod = await kubelet.next_pod()
    await kubelet.end(pod, 0)
    await ended(kube, "Complete")
    await until_gone(kube, "Job", "step")
    assert await kube.list("Pod") == []


async def test_deleting_a_job_takes_its_running_pod_with_it(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job())
    pod = await kubelet.next_pod()
    await kubelet.start(pod)
    await kube.delete("Job", "step", propagation="Background")
    deleted = await until(kube, "Pod", lambda found: "finalizers" not in found["metadata"], name=pod)
    assert deleted["metadata"]["uid"]
    await until(kube, "Pod", lambda found: bool(found["metadata"].get("deletionTimestamp")), name=pod)
    await kubelet.bury(pod)
    await until_gone(kube, "Pod", pod)


async def test_a_job_deleted_in_the_foreground_is_there_until_its_pod_is_gone(kube: Kube, kubelet: Kubelet) -> None:
    await kube.create(a_job())
    pod = await kubelet.next_pod()
    await kubelet.start(pod)
    await kube.delete("Job", "step", propagation="Foreground")
    await until(kube, "Pod", lambda found: bool(found["metadata"].get("deletionTimestamp")), name=pod)
    assert (await kube.get("Job", "step"))["metadata"]["deletionTimestamp"]
    await kubelet.bury(pod)
    await until_gone(kube, "Job", "step")


async def test_two_jobs_run_side_by_side(kube: Kube, kubelet: Kubelet) -> None:
    for name in ("one", "two"):
        await kube.create(a_job(name))
    first = await kubelet.next_pod()
    second = await kubelet.next_pod(besides=(first,))
    assert {first.rpartition("-")[0], second.rpartition("-")[0]} == {"one", "two"}
