"""Recordings of real DataVolumes, played to the API while download_iso follows them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.recordings import Player, Recorded, recording
from support.steps.clusters import DISK, Cluster
from support.steps.running import Run, Runner

GI = 2**30


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file that looks like a disk image: what CDI makes of it is recorded."""
    path = tmp_path / "disk.qcow2"
    path.write_bytes(struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 2 * GI).ljust(1024, b"\0"))
    return path


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The step, and the recording that is played to it."""

    step: Run
    player: Player
    events: list[Recorded]

    async def play(self, *, until: Callable[[Recorded], bool] = lambda event: event.type == "DELETED") -> Run:
        """Go on with the recording up to an event, which is not played; by itself up to the volume's deletion."""
        while self.events and not until(self.events[0]):
            await self.player.play(self.events.pop(0))
        return self.step


Follow = Callable[[str, Path], Coroutine[Any, Any, Followed]]


@pytest.fixture
def follow(cluster: Cluster, steps: Runner) -> Follow:
    """Start the step on the first event of a recording; it has its watch open then, and misses no later one."""

    async def start(name: str, image: Path) -> Followed:
        events = recording(name, "DataVolume")
        player = Player(kube=cluster.kube, names={("DataVolume", events[0].name): DISK})
        await player.play(events.pop(0))
        document = cluster.document(url=image.as_uri(), checksum="", size_bytes=20 * GI, storage_size="20Gi")
        step = await steps.start("download_iso", document, **cluster.environ("download_iso"))
        await step.line("Preparing the download")
        return Followed(step=step, player=player, events=events)

    return start


def percents(step: Run) -> list[int]:
    return [int(line[1:4]) for line in step.lines if line.startswith("[")]


async def test_a_recorded_download_succeeds_with_progress_that_never_goes_back(follow: Follow, image: Path) -> None:
    step = await (await follow("dv-http-ok", image)).play()
    assert await step.ended() == 0, step.log
    assert percents(step) == sorted(percents(step))
    assert len(set(percents(step))) > 5
    assert "required" not in step.log
    assert step.message == f"Downloaded {image.as_uri()}"


async def test_a_download_of_which_all_is_there_is_not_done_before_it_has_succeeded(
    follow: Follow, image: Path
) -> None:
    followed = await follow("dv-http-ok", image)
    step = await followed.play(until=lambda event: event.status.get("phase") == "Succeeded")
    await step.line("(100%)")
    assert step.process.returncode is None
    await followed.play()
    assert await step.ended() == 0, step.log


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dv-404", "answers 404: Unable to connect to http data source: expected status code 200, got 404"),
        ("dv-refused", "the download failed 3 times: Unable to connect to http data source: HTTP request errored"),
        ("dv-too-small", "the disk in disk.qcow2 is larger than storage_size 20Gi"),
        ("dv-checksum-mismatch", "is wrong: expected sha256:"),
    ],
)
async def test_a_download_that_cdi_would_try_for_ever_is_a_permanent_failure_with_the_true_words(
    follow: Follow, image: Path, name: str, words: str
) -> None:
    step = await (await follow(name, image)).play()
    assert await step.ended() == 20
    assert words in step.message
    assert step.extra["hint"]


@pytest.mark.parametrize(
    ("name", "decides"),
    [("dv-404", 0), ("dv-too-small", 0), ("dv-refused", 3)],
)
async def test_what_may_be_a_moments_trouble_is_tried_again_before_it_is_given_up(
    follow: Follow, image: Path, name: str, decides: int
) -> None:
    """Each restart in its turn; only the failure that is told is too much."""

    def too_much(event: Recorded) -> bool:
        failed = event.condition("Running").get("reason") == "Error"
        return failed and (event.status.get("restartCount") or 0) == decides

    followed = await follow(name, image)
    step = await followed.play(until=too_much)
    if decides:
        await step.line(f"(restarted {decides - 1} times)")
    assert step.process.returncode is None
    await followed.play(until=lambda event: not too_much(event))
    assert await step.ended() == 20


async def test_a_text_that_cdi_calls_succeeded_is_not_taken_for_an_image(
    cluster: Cluster, steps: Runner, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("this is no disk image\n" * 99)
    player = Player(kube=cluster.kube, names={("DataVolume", "dv-not-an-image"): DISK})
    for event in recording("dv-not-an-image", "DataVolume"):
        if event.type != "DELETED":
            await player.play(event)
    assert (await cluster.kube.get("DataVolume", DISK))["status"]["phase"] == "Succeeded"
    document = cluster.document(url=text.as_uri(), checksum="", size_bytes=20 * GI, storage_size="20Gi")
    step = await steps.run("download_iso", document, **cluster.environ("download_iso"))
    assert step.process.returncode == 20
    assert "notes.txt is not a disk image: it is neither qcow2 nor raw" in step.message
