"""Recordings of real Jobs, played to the API and read through the service's own watch: what each means, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from goldenpipe.model.outcome import Outcome, outcome_of
from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from support.following import Follower
from support.recordings import Player, Recorded, exits, recorded_job

JOB = "step"
LABELS = {"app.kubernetes.io/managed-by": "goldenpipe", "goldenpipe.io/build": "web-3fa9c"}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is concluded once an event has been seen."""

    event: Recorded
    outcome: Outcome


async def moments(api: ApiServer, events: list[Recorded]) -> list[Moment]:
    """The outcome after each event."""
    found: list[Moment] = []
    last_word = ""
    async with await Kube.connect(api.kubeconfig) as kube, Follower.of(kube) as follower:
        player = Player(kube=kube, labels=LABELS)
        for event in events:
            now = await player.play(event)
            await follower.has_seen(event.kind, event.name, now)
            if job := follower.seen.get("Job", JOB):
                outcome = outcome_of(job, follower.seen.pods_of(JOB), last_word=last_word)
                last_word = outcome.message or last_word
                found.append(Moment(event=event, outcome=outcome))
    return found


def delayed(events: list[Recorded], kind: str, *, seconds: float) -> list[Recorded]:
    """As they arrive where the watch of one kind is behind the other's."""
    made, *rest = sorted(events, key=lambda event: (event.type != "ADDED" or event.kind != "Job", event.at))
    return [made, *sorted(rest, key=lambda event: event.at + (seconds if event.kind == kind else 0))]


def decided(found: list[Moment]) -> Moment:
    """The moment from which on the outcome is known; it is never taken back, and never another."""
    first = next(moment for moment in found if moment.outcome.status != "running")
    after = found[found.index(first) :]
    assert {moment.outcome.status for moment in after} == {first.outcome.status}
    return first


def is_failing(event: Recorded) -> bool:
    """The Job says that it is going to fail, and its Pods are not gone yet."""
    return event.kind == "Job" and bool(event.condition("FailureTarget")) and not event.condition("Failed")


OUTCOMES = [
    ("job-exit-0", exits, "completed", ""),
    ("job-exit-20", exits, "failed", "no such package"),
    ("job-exit-1", is_failing, "failed", "bug"),
    ("job-oom", is_failing, "failed", "the step's container was killed because it needed more memory than its limit"),
    ("job-deadline", is_failing, "failed", "the step did not end within its deadline of 8 s"),
    ("job-pod-deleted", exits, "completed", ""),
    ("job-suspended", exits, "completed", ""),
    ("job-suspend-running", exits, "completed", ""),
    ("job-image-never", is_failing, "failed", "deadline of 60 s: ErrImageNeverPull: Container image"),
    ("job-image-pull", is_failing, "failed", "dial tcp 127.0.0.1:5999: connect: connection refused"),
]


@pytest.mark.parametrize(("name", "moment", "status", "words"), OUTCOMES)
async def test_a_recorded_job_is_judged_at_its_moment_and_not_before(
    api: ApiServer, name: str, moment: Callable[[Recorded], bool], status: str, words: str
) -> None:
    first = decided(await moments(api, recorded_job(name)))
    assert moment(first.event)
    assert first.outcome.status == status
    assert words in first.outcome.message


@pytest.mark.parametrize("kind", ["Job", "Pod"])
@pytest.mark.parametrize(("name", "moment", "status", "words"), OUTCOMES)
async def test_a_watch_that_is_behind_the_other_changes_no_judgement(
    api: ApiServer, name: str, moment: Callable[[Recorded], bool], status: str, words: str, kind: str
) -> None:
    del moment
    first = decided(await moments(api, delayed(recorded_job(name), kind, seconds=3)))
    assert first.outcome.status == status
    assert words in first.outcome.message


@pytest.mark.parametrize("name", ["job-image-never", "job-image-pull"])
async def test_an_image_that_cannot_be_pulled_is_told_long_before_the_deadline(api: ApiServer, name: str) -> None:
    found = await moments(api, recorded_job(name))
    told = next(moment for moment in found if "ErrImage" in moment.outcome.message)
    assert told.outcome.status == "running"
    assert told.outcome.message.startswith("The step's container does not start: ErrImage")
    assert decided(found).event.at - told.event.at > 50
