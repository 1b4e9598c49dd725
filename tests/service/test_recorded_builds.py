"""The whole service, while recordings of a real cluster are played to its API: nothing else runs its Jobs and VMs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from support.recordings import Player, Recorded, exits, recorded_job
from support.rest import Object, Rest
from support.templates import Overlay
from support.watching import until

IMAGE = "/api/v1/images/a"


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay")


@pytest.fixture
async def rest(api: ApiServer, tmp_path: Path, overlay: Overlay) -> AsyncIterator[Rest]:
    settings = Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,))
    async with running(settings, kubeconfig=api.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


@pytest.fixture
async def kube(api: ApiServer) -> AsyncIterator[Kube]:
    async with await Kube.connect(api.kubeconfig) as client:
        yield client


async def job_of(kube: Kube, step: str) -> Object:
    """The Job that the service has made for a step."""
    return await until(kube, "Job", lambda job: _step_of(job) == step)


async def player_for(kube: Kube, step: str) -> Player:
    """Plays a recorded Job as the Job of a step."""
    job = await job_of(kube, step)
    labels = job["spec"]["template"]["metadata"]["labels"]
    return Player(kube=kube, names={("Job", "step"): job["metadata"]["name"]}, labels=labels)


async def until_status(rest: Rest, step: str, *, status: str = "", message: str = "") -> Object:
    """The first status document in which a step is in this state and says this."""
    async for document in rest.statuses("a"):
        found = next(each for each in document["steps"] if each["name"] == step)
        if status in found["status"] and message in found["message"]:
            return document
    raise AssertionError(document)


async def test_the_next_step_begins_when_the_container_has_exited_and_not_when_the_job_says_so(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one").step("two")
    await rest.create("a")
    player = await player_for(kube, "one")
    events = recorded_job("job-exit-0")
    exit_at = next(number for number, event in enumerate(events) if exits(event))
    await player.play_all(events[:exit_at])
    assert (await rest.get(f"{IMAGE}/status"))["steps"][0]["status"] == "in_progress"
    await player.play(events[exit_at])
    await job_of(kube, "two")
    assert "conditions" not in (await job_of(kube, "one"))["status"]
    await player.play_all(events[exit_at + 1 :])
    await (await player_for(kube, "two")).play_all(recorded_job("job-exit-0"))
    assert (await rest.end("a"))["status"] == "ready"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("job-exit-1", "bug"),
        ("job-exit-20", "no such package"),
        ("job-deadline", "the step did not end within its deadline of"),
        ("job-oom", "more memory than its limit"),
        ("job-image-never", "ErrImageNeverPull"),
        ("job-image-pull", "connect: connection refused"),
    ],
)
async def test_a_recorded_failure_ends_the_build_with_its_true_words(
    rest: Rest, overlay: Overlay, kube: Kube, name: str, words: str
) -> None:
    overlay.step("one").step("two")
    await rest.create("a")
    await (await player_for(kube, "one")).play_all(recorded_job(name))
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert status["error"]["step"] == "one"
    assert words in status["error"]["message"]
    assert [step["status"] for step in status["steps"]] == ["failed", "pending"]


def up_to_exit(name: str) -> list[Recorded]:
    """A recorded Job until its container has exited; what the Job says of that comes later."""
    events = recorded_job(name)
    return events[: next(number for number, event in enumerate(events) if exits(event)) + 1]


def up_to_running(name: str) -> list[Recorded]:
    events = recorded_job(name)
    return events[: next(number for number, event in enumerate(events) if "running" in event.container) + 1]


async def bury(kube: Kube, pod: str) -> None:
    await kube.patch("Pod", pod, {"metadata": {"finalizers": None}})
    await kube.delete("Pod", pod, grace_seconds=0)


async def end_pod_of_deleted_job(kube: Kube, step: str) -> None:
    """What the Job controller and the kubelet do when a Job is deleted."""
    job = await until(kube, "Job", lambda job: _step_of(job) == step and "deletionTimestamp" in job["metadata"])
    for pod in await kube.list("Pod", labels=f"batch.kubernetes.io/job-name={job['metadata']['name']}"):
        await bury(kube, pod["metadata"]["name"])


def _step_of(obj: Object) -> str:
    return str(obj["metadata"]["labels"]["goldenpipe.io/step"])


async def test_a_job_that_fails_after_its_container_had_exited_well_stops_the_build_and_the_step_that_runs(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one").step("two")
    await rest.create("a")
    player = await player_for(kube, "one")
    await player.play_all(up_to_exit("job-exit-0"))
    await (await player_for(kube, "two")).play_all(up_to_running("job-exit-0"))
    deadline = [event for event in recorded_job("job-deadline") if event.kind == "Job"]
    await (await player_for(kube, "one")).play_all(deadline)
    await end_pod_of_deleted_job(kube, "two")
    status = await rest.end("a")
    assert (status["status"], status["error"]["step"]) == ("failed", "one")
    assert (
        "had exited with 0, but its Job failed after that: the step did not end within its deadline"
        in (status["error"]["message"])
    )
    assert [step["status"] for step in status["steps"]] == ["failed", "failed"]
    assert [_step_of(job) for job in await kube.list("Job")] == ["one"]


async def test_a_step_that_its_job_starts_again_after_it_was_taken_for_done_stops_the_build(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one").step("two")
    await rest.create("a")
    player = await player_for(kube, "one")
    events = up_to_exit("job-exit-0")
    await player.play_all(events)
    await job_of(kube, "two")
    await bury(kube, player.name_of(events[-1]))
    again = await player_for(kube, "one")
    again.names["Pod", events[-1].name] = "another"
    await again.play_all(
        [event for event in up_to_running("job-exit-0") if event.kind == "Pod" or event.type == "ADDED"]
    )
    await end_pod_of_deleted_job(kube, "one")
    status = await rest.end("a")
    assert (status["status"], status["error"]["step"]) == ("failed", "one")
    assert "the Job has started another one" in status["error"]["message"]


async def test_an_image_is_not_ready_before_the_job_of_its_last_step_has_confirmed_it(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one")
    await rest.create("a")
    player, events = await player_for(kube, "one"), up_to_exit("job-exit-0")
    await player.play_all(events)
    told = await until_status(rest, "one", status="completed")
    assert told["status"] == "creating"
    await player.play_all(recorded_job("job-exit-0")[len(events) :])
    assert (await rest.end("a"))["status"] == "ready"


async def test_a_pod_lost_or_suspended_is_waited_for_and_the_step_completes_with_the_next(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    names = ("job-pod-deleted", "job-suspend-running", "job-suspended")
    for number in range(len(names)):
        overlay.step(f"step{number}")
    await rest.create("a")
    for number, name in enumerate(names):
        await (await player_for(kube, f"step{number}")).play_all(recorded_job(name))
    status = await rest.end("a")
    assert (status["status"], [step["status"] for step in status["steps"]]) == ("ready", ["completed"] * 3)


async def test_an_image_that_cannot_be_pulled_is_the_steps_message_while_it_waits(
    rest: Rest, overlay: Overlay, kube: Kube
) -> None:
    overlay.step("one", message="Doing one")
    await rest.create("a")
    player = await player_for(kube, "one")
    events = recorded_job("job-image-pull")
    refused = next(number for number, event in enumerate(events) if "ErrImagePull" in str(event.container))
    await player.play_all(events[: refused + 1])
    told = await until_status(rest, "one", message="does not start")
    assert told["message"].startswith("The step's container does not start: ErrImagePull: failed to pull")
    starts = recorded_job("job-exit-0")
    pod = next(event for event in starts if event.kind == "Pod" and "running" in event.container)
    name = player.name_of(events[refused])
    await kube.patch("Pod", name, {"status": pod.status}, subresource="status")
    assert (await until_status(rest, "one", message="Doing one"))["status"] == "creating"
