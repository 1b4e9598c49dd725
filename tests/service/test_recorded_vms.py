"""Recordings of real VirtualMachines, played to the API and read through the service's own watch, event by event."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import pytest

from goldenpipe.cluster.vms import end_of_vm, guest_address, vm_status
from goldenpipe_kube import Kube, Object
from goldenpipe_local.api import ApiServer
from support.following import Follower
from support.recordings import Player, Recorded, recording

LABELS = {"app.kubernetes.io/managed-by": "goldenpipe", "goldenpipe.io/build": "web-3fa9c"}
KINDS = ("VirtualMachine", "VirtualMachineInstance", "Pod")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is concluded of a VM once an event has been seen."""

    event: Recorded
    vm: Object | None
    vmi: Object | None

    @property
    def word(self) -> str:
        return vm_status(self.vm, self.vmi) if self.vm else "gone"

    @property
    def end(self) -> str | None:
        """Why a step that works in the VM cannot go on."""
        return end_of_vm(self.vm, self.vmi)

    @property
    def address(self) -> str | None:
        return guest_address(self.vmi)

    @property
    def phase(self) -> str:
        return str(((self.vmi or {}).get("status") or {}).get("phase") or "")


B_LIFE = ("vm-guest-reboot", "vm-killed", "vm-vmi-deleted-while-running", "vm-deleted-while-running")
"""One VM, recorded four times: each recording goes on where the one before it ended."""


async def moments(api: ApiServer, name: str) -> list[Moment]:
    """After each event, as long as there is a VM."""
    found: list[Moment] = []
    async with await Kube.connect(api.kubeconfig) as kube, Follower.of(kube) as follower:
        player = Player(kube=kube, labels=LABELS)
        before = B_LIFE[: B_LIFE.index(name)] if name in B_LIFE else ()
        for earlier in before:
            await player.play_all(recording(earlier, *KINDS))
        events = recording(name, *KINDS)
        vm = next(event.name for event in events if event.kind == "VirtualMachine")
        for event in events:
            now = await player.play(event)
            await follower.has_seen(event.kind, event.name, now)
            found.append(Moment(event=event, vm=follower.seen.get(KINDS[0], vm), vmi=follower.seen.get(KINDS[1], vm)))
    return [moment for moment in found if moment.vm]


def told(found: list[str | None]) -> list[str | None]:
    """Each thing once until something else is told."""
    return [key for key, _ in groupby(found)]


WORDS = {
    # started twice: first powered off by its guest, then stopped; Stopped is read before, between and after
    "vm-manual-lifecycle": "pending running stopped pending running stopped deleting",
    "vm-guest-reboot": "pending running",
    "vm-killed": "failed",
    # begins with the end of the run before
    "vm-vmi-deleted-while-running": "failed stopped pending running stopped",
    "vm-deleted-while-running": "stopped pending running deleting",
    "vm-missing-pvc": "pending failed deleting",
    # stopping it makes its instance Failed for a moment
    "vm-missing-dv": "pending failed pending failed pending stopped deleting",
    "vm-dv-failing": "pending deleting",
    "vm-unschedulable": "pending deleting",
    "vm-once-iso": "pending running stopped deleting",
    # it does not react to the power button, so that its instance ends as Failed
    "vm-once-iso-reboot": "pending running failed stopped deleting",
}


@pytest.mark.parametrize("name", WORDS)
async def test_the_words_for_a_recorded_vm_are_those_of_its_life(api: ApiServer, name: str) -> None:
    found = await moments(api, name)
    assert " ".join(told([moment.word for moment in found])) == WORDS[name]


DELETED = "the build VM was deleted while the build ran"
STOPPED = "the build VM was stopped while the build ran (its VirtualMachineInstance is gone)"
POWERED_OFF = "the guest powered off before the image was sealed"
CRASHED = "the build VM failed: its QEMU crashed or was killed, and KubeVirt gives no reason"


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        # None: it has been started again
        ("vm-manual-lifecycle", [None, POWERED_OFF, STOPPED, None, STOPPED, DELETED]),
        ("vm-guest-reboot", [None]),
        ("vm-killed", [CRASHED]),
        ("vm-vmi-deleted-while-running", [None, STOPPED]),
        ("vm-deleted-while-running", [None, DELETED]),
        ("vm-once-iso", [None, POWERED_OFF, DELETED]),
        ("vm-once-iso-reboot", [None, STOPPED, DELETED]),
    ],
)
async def test_a_vm_that_runs_has_ended_when_it_has_and_for_its_true_reason(
    api: ApiServer, name: str, ends: list[str | None]
) -> None:
    found = await moments(api, name)
    runs = next((number for number, moment in enumerate(found) if moment.word == "running"), 0)
    assert told([moment.end for moment in found[runs:]]) == ends


@pytest.mark.parametrize("name", WORDS)
async def test_an_address_that_is_shown_is_one_that_leads_to_the_guest(api: ApiServer, name: str) -> None:
    found = await moments(api, name)
    assert all(str(moment.address).startswith("10.88.1.") for moment in found if moment.phase == "Running")
    assert {moment.address for moment in found if moment.phase != "Running"} == {None}
