"""Recordings of real VirtualMachines, played to the API while create_vm and seal_image follow them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from support.recordings import Player, Recorded, recording
from support.steps.clusters import VM, Cluster
from support.steps.guests import USER, Guest
from support.steps.running import Run, Runner

Start = Callable[..., Coroutine[Any, Any, Run]]
KINDS = ("VirtualMachine", "VirtualMachineInstance")
ADDRESSES = {f"10.88.1.{number}": "127.0.0.1" for number in (79, 96, 97, 98, 99)}


@pytest.fixture
def player(cluster: Cluster) -> Player:
    """Plays each of the recorded machines as the build's, at an address of this host."""
    names = {(kind, name): VM for kind in KINDS for name in ("vm-a", "vm-b", "vm-m", "vm-u", "vm-d")}
    return Player(kube=cluster.kube, names=names, words=ADDRESSES)


@pytest.fixture
def start(cluster: Cluster, steps: Runner, player: Player) -> Start:
    """Start a step; with a guest, it has that guest's keys and finds it at the recorded address."""

    async def start_step(name: str, *, guest: Guest | None = None, **params: Any) -> Run:
        document, environ = cluster.document(**params), cluster.environ(name)
        if guest:
            player.annotations["goldenpipe.io/ssh-port"] = str(guest.port)
            document["guest"] = {"address": "127.0.0.1", "port": guest.port, "user": USER}
            environ["GOLDENPIPE_SSH"] = str(guest.ssh_folder)
        return await steps.start(name, document, **environ)

    return start_step


def asked(event: Recorded, action: str = "Start") -> bool:
    """KubeVirt has noted that somebody asked for this."""
    requests = event.status.get("stateChangeRequests") or []
    return event.kind == "VirtualMachine" and any(request["action"] == action for request in requests)


def split(events: list[Recorded], at: Callable[[Recorded], bool]) -> tuple[list[Recorded], list[Recorded]]:
    """Before the first such event, and from it on."""
    number = next(number for number, event in enumerate(events) if at(event))
    return events[:number], events[number:]


def not_asked(event: Recorded) -> Recorded:
    """The VM as it was before the first event, which is that somebody asked."""
    status = {key: value for key, value in event.status.items() if key != "stateChangeRequests"}
    return replace(event, object={**event.object, "status": status})


async def begin(name: str, start: Start, cluster: Cluster, player: Player, **params: Any) -> tuple[Run, list[Recorded]]:
    """Play up to the start, and let create_vm ask for it; the step, and what has not been played yet."""
    before, rest = split(recording(name, *KINDS), asked)
    await player.play_all(before or [not_asked(rest[0])])
    step = await start("create_vm", user=USER, **params)
    await cluster.vm_is_asked_to("start")
    return step, rest


async def test_a_recorded_boot_ends_with_the_guest_looked_at(
    cluster: Cluster, guest: Guest, start: Start, player: Player
) -> None:
    step, rest = await begin("vm-manual-lifecycle", start, cluster, player, guest=guest)
    booting, _ = split(rest, lambda event: bool(event.condition("AgentConnected")))
    await player.play_all(booting)
    assert await step.ended() == 0, step.log
    assert (step.facts["address"], step.facts["os_id"]) == ("127.0.0.1", "debian")


async def test_a_machine_that_had_ended_before_its_start_is_not_taken_for_the_started_one(
    cluster: Cluster, guest: Guest, start: Start, player: Player
) -> None:
    """The start takes away the instance that failed; it is there, with its end, for some events more."""
    for earlier in ("vm-guest-reboot", "vm-killed"):
        await player.play_all(recording(earlier, *KINDS))
    step, rest = await begin("vm-vmi-deleted-while-running", start, cluster, player, guest=guest)
    booting, _ = split(rest, lambda event: bool(event.condition("AgentConnected")))
    await player.play_all(booting)
    assert await step.ended() == 0, step.log


@pytest.mark.parametrize("name", ["vm-vmi-deleted-while-running", "vm-deleted-while-running"])
async def test_a_machine_deleted_while_its_guest_boots_is_told_at_once(
    cluster: Cluster, guest: Guest, start: Start, player: Player, name: str
) -> None:
    await guest.stop()
    if name == "vm-vmi-deleted-while-running":
        await player.play_all([*recording("vm-guest-reboot", *KINDS), *recording("vm-killed", *KINDS)])
    step, rest = await begin(name, start, cluster, player, guest=guest)
    alive, end = split(rest, lambda event: event.deleting and event.status.get("phase") == "Running")
    await player.play_all(alive)
    await step.line("Waiting for the guest to answer")
    assert step.process.returncode is None
    await player.play(end[0])
    assert await step.ended(10) == 20
    assert f"VirtualMachineInstance {VM} was deleted while the build needed it" in step.message


async def test_a_qemu_killed_while_its_guest_boots_is_told_as_that(
    cluster: Cluster, guest: Guest, start: Start, player: Player
) -> None:
    """Its conditions say that it cannot be migrated, which is true and not the reason."""
    await guest.stop()
    step, rest = await begin("vm-guest-reboot", start, cluster, player, guest=guest)
    await player.play_all(rest)
    await step.line("Waiting for the guest to answer")
    await player.play_all(recording("vm-killed", *KINDS))
    assert await step.ended(10) == 20
    words = "stopped with a failure while it booted: its QEMU crashed or was killed, and KubeVirt gives no reason"
    assert words in step.message


async def test_a_guest_that_reboots_while_it_is_waited_for_is_waited_for_again(
    cluster: Cluster, guest: Guest, start: Start, player: Player
) -> None:
    await guest.stop()
    step, rest = await begin("vm-guest-reboot", start, cluster, player, guest=guest)
    await player.play_all(rest)
    await step.line("Waiting for the guest to answer")
    await guest.start()
    assert await step.ended() == 0, step.log


@pytest.mark.parametrize("name", ["vm-missing-pvc", "vm-missing-dv"])
async def test_a_machine_whose_disk_is_missing_says_which(
    cluster: Cluster, start: Start, player: Player, name: str
) -> None:
    step, rest = await begin(name, start, cluster, player, settle_seconds=1)
    until_stopped, _ = split(rest, lambda event: asked(event, "Stop") or event.deleting)
    await player.play_all(until_stopped)
    assert await step.ended(20) == 20
    assert f"the virtual machine {VM} cannot run: ErrorPvcNotFound: PVC " in step.message
    assert "/nope does not exist, waiting for it to appear" in step.message


async def test_a_machine_for_which_there_is_no_room_is_waited_for_as_long_as_a_boot_may_take(
    cluster: Cluster, start: Start, player: Player
) -> None:
    step, rest = await begin("vm-unschedulable", start, cluster, player, settle_seconds=0.1, boot_timeout_seconds=4)
    alive, _ = split(rest, lambda event: event.deleting)
    await player.play_all(alive)
    await step.line("ErrorUnschedulable: 0/1 nodes are available: 1 Insufficient memory")
    assert await step.ended(20) == 20
    assert "did not run within 4.0 s: it is ErrorUnschedulable" in step.message
    assert "1 Insufficient memory" in step.extra["hint"]


async def test_a_disk_that_is_tried_again_is_not_the_end_of_its_machine(start: Start, player: Player) -> None:
    """The VM says DataVolumeError for as long as CDI waits between two tries."""
    alive, deleted = split(recording("vm-dv-failing", "VirtualMachine"), lambda event: event.deleting)
    await player.play(alive.pop(0))
    step = await start("create_vm", user=USER, settle_seconds=0.1)
    await step.line("Starting the virtual machine")
    for number, event in enumerate(alive):
        await player.play(event)
        if event.status.get("printableStatus") == "DataVolumeError" and number > 3:
            await step.line("DataVolumeError")
    assert step.process.returncode is None
    await player.play_all(deleted)
    assert await step.ended(10) == 20
    assert f"VirtualMachine {VM} was deleted while the build needed it" in step.message


async def test_a_recorded_power_off_after_the_seal_is_a_sealed_image(
    guest: Guest, start: Start, player: Player
) -> None:
    booted, power_off = split(recording("vm-manual-lifecycle", *KINDS), lambda event: event.at > 97)
    await player.play_all(booted)
    step = await start("seal_image", guest=guest)
    await guest.powered_off()
    off, _ = split(power_off, asked)
    await player.play_all(off)
    assert await step.ended() == 0, step.log


async def test_a_machine_that_somebody_stops_while_it_is_sealed_is_not_sealed(
    guest: Guest, start: Start, player: Player
) -> None:
    """Asked to stop, the guest powers off as cleanly as after a seal."""
    booted, rest = split(recording("vm-manual-lifecycle", *KINDS), lambda event: event.at > 153.3)
    await player.play_all(booted)
    step = await start("seal_image", guest=guest)
    await step.line("The seal begins")
    stopping, _ = split(rest, lambda event: event.type == "DELETED")
    await player.play_all(stopping)
    assert await step.ended() == 20
    assert step.message == "somebody stopped the machine before it was sealed"
