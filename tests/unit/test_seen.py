"""What is kept of the cluster: enough to decide, and nothing of what is over."""

from __future__ import annotations

from goldenpipe.cluster.seen import Object, Seen


def a_pod(name: str, build: str, job: str) -> Object:
    labels = {"goldenpipe.io/build": build, "batch.kubernetes.io/job-name": job}
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}}


def a_job(name: str, build: str) -> Object:
    return {"kind": "Job", "metadata": {"name": name, "labels": {"goldenpipe.io/build": build}}}


def test_nothing_is_kept_of_the_steps_of_builds_that_have_ended() -> None:
    running = {"new"}
    seen = Seen(runs=running.__contains__)
    for build in ("old", "new"):
        seen.replace_all("Job", [a_job("job-old", "old"), a_job("job-new", "new")])
        seen.put(a_pod(f"pod-{build}", build, f"job-{build}"))
    assert [job["metadata"]["name"] for job in seen.all("Job")] == ["job-new"]
    assert [pod["metadata"]["name"] for pod in seen.all("Pod")] == ["pod-new"]
    running.clear()
    seen.forget("new")
    seen.put(a_job("job-new", "new"))
    assert seen.all("Job") == seen.all("Pod") == seen.pods_of("job-new") == []


def test_the_pods_of_a_job_are_those_that_are_there_and_no_others() -> None:
    seen = Seen(runs=lambda _: True)
    first, second, other = a_pod("a-1", "b", "a"), a_pod("a-2", "b", "a"), a_pod("c-1", "b", "c")
    for pod in (first, second, other):
        seen.put(pod)
    assert seen.pods_of("a") == [first, second]
    seen.drop(first)
    assert seen.pods_of("a") == [second]
    assert seen.replace_all("Pod", [other]) == [second]
    assert seen.pods_of("a") == []
    assert seen.pods_of("c") == [other]
