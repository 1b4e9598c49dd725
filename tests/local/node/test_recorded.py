"""The local cluster goes through what a real one was recorded to go through; where it may differ is in one table.

Objects that it does not have at all are not looked at: Pods of importers, scratch claims; a launcher's Pod stands for a
QEMU that is no process of its own. Nor are annotations, finalizers and Events: what controllers write for each other.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from goldenpipe_kube import Conflict, Kube, Object
from goldenpipe_local.api import ApiServer
from goldenpipe_local.jobs import JobController
from goldenpipe_local.jobs.backoff import Backoff
from goldenpipe_local.node.disks import controller as disks
from goldenpipe_local.node.vms import process
from support.guests import (
    HANG,
    POWER_OFF,
    RESET,
    WAIT_A_SECOND,
    WAIT_FOR_BUTTON,
    a_machine,
    a_volume,
    boot_disk,
    boot_iso,
)
from support.recordings import NAMES, Recorded, recorded_job, recording
from support.sequences import (
    Difference,
    State,
    States,
    changed,
    dropped,
    must_be_same,
    must_be_within,
    states_of,
    told_since,
    without,
)
from support.watching import until, until_gone

pytestmark = pytest.mark.usefixtures("agent")


def reason(state: State, kind: str) -> str:
    return " ".join(state[kind].split()[1:])


def is_on_the_way_again(states: States) -> States:
    """Without the moments between a first importer and a second one."""
    kept: States = []
    for state in states:
        again = any(before["phase"] == "ImportInProgress" for before in kept)
        if not (again and state["phase"] == "ImportScheduled" and "ContainerCreating" not in state["Running"]):
            kept.append(state)
    return kept


KUBEVIRTS_OWN = frozenset(
    (
        *("activePods", "currentCPUTopology", "guestOSInfo", "launcherContainerImageVersion", "machine", "memory"),
        *("migrationMethod", "migrationTransport", "qosClass", "runtimeUser", "selinuxContext", "volumeStatus"),
        *("virtualMachineRevisionName", "volumeSnapshotStatuses"),
    )
)
OF_THE_NODE = ("SoftwareEmulation", "goldenpipe.io/SingleVCPU")


def fields_but(state: State, hidden: Collection[str]) -> State:
    return {"fields": " ".join(field for field in state["fields"].split() if field not in hidden)}


def conditions_but(state: State, *hidden: str) -> State:
    return {"conditions": {kind: words for kind, words in state["conditions"].items() if kind not in hidden}}


def agentless(state: State) -> State:
    """As of a guest without an agent."""
    shown = conditions_but(state, "AgentConnected", "AgentVersionNotSupported")
    if "interface" in state:
        told_by_agent = state["address"] == "inner"
        hidden = ("interfaceName", *(("ipAddress", "ipAddresses") if told_by_agent else ()))
        shown["interface"] = " ".join(field for field in state["interface"].split() if field not in hidden)
        shown["address"] = "no" if told_by_agent else state["address"]
        shown["source"] = state["source"].removesuffix(", guest-agent")
    return shown


def why_failed(state: State) -> list[str]:
    words = state["conditions"].get("Synchronized", "")
    return ["Synchronized"] if words.startswith("False GuestFailed") else []


DIFFERENCES = (
    Difference(
        kind="DataVolume",
        what="Bound is False for NotFound or CreatingScratchSpace for one moment",
        why="CDI looked before its cache had the claim; four of six recordings do not have it",
        hide=dropped(lambda state: reason(state, "Bound").startswith(("NotFound", "CreatingScratchSpace"))),
    ),
    Difference(
        kind="DataVolume",
        what="the words while the claim is Pending",
        why="they are those of the storage's provisioner, or of a write that was tried again; there is none here",
        hide=changed(lambda state: {"Bound": state["Bound"] if state["Bound"][0] != "F" else "False Pending"}),
    ),
    Difference(
        kind="DataVolume",
        what="Running is False for Unschedulable: Importer pod cannot be scheduled",
        why="an import needs no Pod here, so that none waits for a node",
        hide=changed(lambda state: {"Running": "False" if "Unschedulable" in state["Running"] else state["Running"]}),
    ),
    Difference(
        kind="DataVolume",
        what="ImportScheduled before the second importer's ContainerCreating",
        why="so long as the first importer's Pod goes and the scratch claim comes; neither is here",
        hide=is_on_the_way_again,
    ),
    *(
        difference
        for kind in ("VirtualMachineInstance", "VirtualMachine")
        for difference in (
            Difference(
                kind=kind,
                what=f"status fields {', '.join(sorted(KUBEVIRTS_OWN))}",
                why="how KubeVirt runs QEMU in a Pod, how it would move it, and what the storage could do",
                hide=changed(lambda state: fields_but(state, KUBEVIRTS_OWN)),
            ),
            Difference(
                kind=kind,
                what="AgentConnected, AgentVersionNotSupported, the guest's own name and address of its interface",
                why="the recorded guests had a guest agent, the node has no channel for one",
                hide=changed(agentless),
            ),
            Difference(
                kind=kind,
                what=f"{', '.join(OF_THE_NODE)}, and Synchronized False for GuestFailed",
                why="how the node got a guest to run, and why QEMU ended: KubeVirt leaves that to an Event",
                more=True,
                hide=changed(lambda state: conditions_but(state, *OF_THE_NODE, *why_failed(state))),
            ),
        )
    ),
    Difference(
        kind="Pod",
        what="the container waits for ContainerCreating",
        why="nothing is pulled and nothing is set up; the process starts at once",
        hide=dropped(lambda state: state["container"] == "waiting ContainerCreating"),
    ),
    Difference(
        kind="Job",
        only="job-suspend-running",
        what="a ready Pod before the suspension",
        why="a real controller waits for a second before it tells, and was asked to suspend the Job before that",
        hide=dropped(lambda state: state["ready"] == 1 and not state["conditions"]),
    ),
)


def of(kind: str, name: str) -> list[Difference]:
    """What is to be hidden of this kind in this recording."""
    return [each for each in DIFFERENCES if each.kind == kind and each.only in ("", name)]


def words_of(states: States, brief: Collection[str] = ()) -> list[str]:
    """What `kubectl get vm` shows, one after the other."""
    return [word for word, _ in groupby(state["word"] for state in states if state["word"] not in brief)]


def compare(local: list[Recorded], real: list[Recorded], kind: str, *, ours: str, theirs: str) -> None:
    must_be_same(shown(local, kind, ours), shown(real, kind, theirs))


def shown(events: list[Recorded], kind: str, name: str = "", *, only: str = "") -> States:
    """What an object went through, without what differs for a reason."""
    return without(states_of(events, kind, name), of(kind, only))


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: f"{difference.kind}: {difference.what}")
def test_a_difference_is_in_the_table_only_as_long_as_there_is_one(difference: Difference) -> None:
    events = [event for name in NAMES for event in recording(name, difference.kind)]
    names = dict.fromkeys(event.name for event in events)
    lives = [states_of(events, difference.kind, name) for name in names]
    assert difference.more or any(difference.hide(states) != states for states in lives)


class Site:
    """Serves one file, slowly enough for progress to be told, or refuses it."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self.body is None:
            await asyncio.sleep(0.3)  # an importer takes its time to start, during which others look at its volume
            raise web.HTTPNotFound
        answer = web.StreamResponse()
        answer.content_length = len(self.body)
        await answer.prepare(request)
        half = len(self.body) // 2
        await answer.write(self.body[:half])
        if half > 1 << 19:
            await asyncio.sleep(1.2 * disks.PROGRESS_SECONDS)  # the importer tells its progress in between
        await answer.write(self.body[half:])
        return answer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/{name}", site.serve)
    async with TestServer(app) as server:
        site.url = str(server.make_url("/x"))
        yield site


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real cluster waits 10 s, 20 s, 40 s between an importer's tries, and so does the node."""
    monkeypatch.setattr(disks, "_FIRST_BACKOFF", 0.2)


async def version_of(kube: Kube) -> str:
    marker = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "begin"}}
    return str((await kube.create(marker))["metadata"]["resourceVersion"])


def failed(times: int) -> object:
    def check(volume: Object) -> bool:
        status = volume.get("status") or {}
        running = next((each for each in status.get("conditions") or [] if each["type"] == "Running"), {})
        return running.get("reason") == "Error" and (status.get("restartCount") or 0) == times

    return check


def ended(volume: Object) -> bool:
    return (volume.get("status") or {}).get("phase") in ("Succeeded", "Failed")


DISK_KINDS = ("DataVolume", "PersistentVolumeClaim")


async def imported(kube: Kube, url: str, wanted: object, **http: str) -> list[Recorded]:
    """What the node tells of an import until the volume is as wanted."""
    begin = await version_of(kube)
    await kube.create(a_volume(url, **http))
    last = await until(kube, "DataVolume", wanted, seconds=30)  # type: ignore[arg-type]
    events = await told_since(kube, begin, *DISK_KINDS)
    versions = [event.object["metadata"]["resourceVersion"] for event in events]
    return events[: versions.index(last["metadata"]["resourceVersion"]) + 1]


def recorded_import(name: str, wanted: object) -> list[Recorded]:
    events = recording(name, *DISK_KINDS)
    last = next(
        number
        for number, event in enumerate(events)
        if event.kind == "DataVolume" and wanted(event.object)  # type: ignore[operator]
    )
    return events[: last + 1]


def parts(name: str) -> str:
    return "root" if name == "dv-http-ok" else name


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("dv-http-ok", ended),
        ("dv-not-an-image", ended),
        ("dv-checksum-mismatch", ended),
        ("dv-404", failed(2)),
        ("dv-refused", failed(2)),
        ("dv-too-small", failed(1)),
    ],
)
async def test_an_import_goes_through_what_was_recorded(
    kube: Kube, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, wanted: object
) -> None:
    url, http = site.url, {}
    if name in ("dv-http-ok", "dv-checksum-mismatch"):
        site.body = boot_disk(tmp_path, "hello", POWER_OFF).read_bytes() + os.urandom(3 << 20)
    elif name == "dv-too-small":
        site.body = os.urandom(2 << 20)
    elif name == "dv-not-an-image":
        site.body = b"this is no disk image\n" * 99
        monkeypatch.setattr(disks, "PROGRESS_SECONDS", 60.0)  # it was through before anybody looked how far it was
    if name == "dv-refused":
        url = "http://127.0.0.1:1/x.qcow2"
    if name == "dv-checksum-mismatch":
        http = {"checksum": "sha256:" + "0" * 64}
    local = await imported(kube, url, wanted, **http)
    real = recorded_import(name, wanted)
    for kind in DISK_KINDS:
        compare(local, real, kind, ours="root", theirs=parts(name))
    assert falls(local) == falls(real) == 0


def falls(events: list[Recorded]) -> int:
    """How often progress went back, but for where a try begins: it shows the last one's until it has its own."""
    count = 0
    events = [event for event in events if event.kind == "DataVolume"]
    for _, tries in groupby(events, key=lambda event: event.status.get("restartCount") or 0):
        told = [str(event.status.get("progress") or "") for event in tries]
        percents = [percent for percent, _ in groupby(float(each[:-1]) for each in told if each.endswith("%"))]
        count += sum(after < before for before, after in pairwise(percents[1:]))
    return count


VM_KINDS = ("VirtualMachine", "VirtualMachineInstance")
FOR_A_WHILE = WAIT_A_SECOND * 2


class Life:
    """The machine of a test, and all that was told of it."""

    def __init__(self, kube: Kube, folder: Path, begin: str) -> None:
        self.kube, self.folder, self.begin = kube, folder, begin

    async def make(self, then: bytes) -> None:
        """A stopped machine on a disk that boots into this."""
        await self.kube.create(a_volume(boot_disk(self.folder, "up\r\n", then).as_uri()))
        await until(self.kube, "DataVolume", ended)
        await self.kube.create(a_machine())
        await until(self.kube, "VirtualMachine", lambda vm: why_not_ready(vm) == "VMINotExists")

    async def start(self) -> Object:
        await self.kube.act("VirtualMachine", "vm", "start")
        return await self.reads("Running", ready=True)

    async def reads(self, word: str, *, ready: bool = False, created: bool = True) -> Object:
        def check(vm: Object) -> bool:
            status = vm.get("status") or {}
            seen = status.get("printableStatus"), bool(status.get("ready")), bool(status.get("created"))
            return seen == (word, ready, created)

        return await until(self.kube, "VirtualMachine", check, seconds=30)

    async def is_over(self) -> Object:
        """The instance has ended, and so has its launcher."""
        return await until(self.kube, "VirtualMachine", lambda vm: why_not_ready(vm) == "PodTerminating", seconds=30)

    async def is_as_recorded(self, real: list[Recorded], *, name: str, brief: Collection[str] = ()) -> None:
        """`brief` are words that show for milliseconds, here and there, so that they may be passed over."""
        local = await told_since(self.kube, self.begin, *VM_KINDS)
        compare(local, real, "VirtualMachineInstance", ours="vm", theirs=name)
        ours, theirs = shown(local, "VirtualMachine", "vm"), shown(real, "VirtualMachine", name)
        must_be_within(ours, theirs)
        assert words_of(ours, brief) == words_of(theirs, brief)


def why_not_ready(vm: Object) -> str:
    conditions = (vm.get("status") or {}).get("conditions") or []
    return next((str(each.get("reason")) for each in conditions if each["type"] == "Ready"), "")


@pytest.fixture
async def life(kube: Kube, tmp_path: Path) -> Life:
    return Life(kube, tmp_path, await version_of(kube))


async def test_a_machine_goes_through_the_recorded_life_of_one(life: Life, kube: Kube, tmp_path: Path) -> None:
    """Started, powered off by its guest, started again, stopped, deleted."""
    await life.make(FOR_A_WHILE + POWER_OFF)
    await life.start()
    await life.is_over()
    other = boot_disk(tmp_path, "up again", WAIT_FOR_BUTTON, name="other.qcow2")
    other.replace(tmp_path / "cluster" / "volumes" / "root" / "disk.qcow2")
    await life.start()
    await kube.act("VirtualMachine", "vm", "stop", {"gracePeriod": 30})
    await life.reads("Stopped", created=False)
    await kube.delete("VirtualMachine", "vm")
    await until_gone(kube, "VirtualMachine", "vm")
    await life.is_as_recorded(recording("vm-manual-lifecycle", *VM_KINDS), name="vm-a")


async def test_a_guest_that_reboots_changes_nothing_of_its_machine(life: Life, kube: Kube) -> None:
    await life.make(FOR_A_WHILE + RESET)
    vm = await life.start()
    (launcher,) = await kube.list("Pod", labels="kubevirt.io=virt-launcher")
    console = b""
    async for chunk in kube.logs(launcher["metadata"]["name"], follow=True):
        console += chunk
        if console.count(b"up") > 2:
            break
    assert await kube.get("VirtualMachine", "vm") == vm
    await life.is_as_recorded(booted(until_rebooted=True), name="vm-b")


async def test_a_qemu_that_is_killed_is_told_as_recorded(life: Life, kube: Kube, tmp_path: Path) -> None:
    await life.make(HANG)
    await life.start()
    vmi = await kube.get("VirtualMachineInstance", "vm")
    qemu = process.recorded(tmp_path / "cluster" / "vms" / vmi["metadata"]["uid"])
    assert qemu is not None
    assert qemu.send_signal(signal.SIGKILL)
    await life.is_over()
    await life.is_as_recorded([*booted(), *recording("vm-killed", *VM_KINDS)], name="vm-b")


async def test_an_instance_deleted_while_it_runs_is_told_as_recorded(life: Life, kube: Kube) -> None:
    await life.make(WAIT_FOR_BUTTON)
    await life.start()
    await kube.delete("VirtualMachineInstance", "vm")
    await life.reads("Stopped", created=False)
    events = recording("vm-vmi-deleted-while-running", *VM_KINDS)
    made = next(number for number, event in enumerate(events) if event.type == "ADDED")
    await life.is_as_recorded([*made_and_asked(), *events[made:]], name="vm-b")


async def test_a_machine_deleted_while_it_runs_is_told_as_recorded(life: Life, kube: Kube) -> None:
    await life.make(WAIT_FOR_BUTTON)
    await life.start()
    await kube.delete("VirtualMachine", "vm")
    await until_gone(kube, "VirtualMachine", "vm")
    await until_gone(kube, "VirtualMachineInstance", "vm")
    events = recording("vm-deleted-while-running", *VM_KINDS)
    await life.is_as_recorded([*made_and_asked(), *events[1:]], name="vm-b")


@pytest.mark.parametrize("name", ["vm-missing-dv", "vm-missing-pvc"])
async def test_a_machine_whose_disk_is_missing_is_told_as_recorded(life: Life, kube: Kube, name: str) -> None:
    machine = a_machine(disk="nope")
    if name == "vm-missing-pvc":
        (root,) = machine["spec"]["template"]["spec"]["volumes"]
        del root["dataVolume"]
        root["persistentVolumeClaim"] = {"claimName": "nope"}
    await kube.create(machine)
    await until(kube, "VirtualMachine", lambda vm: why_not_ready(vm) == "VMINotExists")
    await kube.act("VirtualMachine", "vm", "start")
    await life.reads("ErrorPvcNotFound")
    if name == "vm-missing-dv":
        await kube.act("VirtualMachine", "vm", "stop")
        await life.reads("Stopped", created=False)
    await kube.delete("VirtualMachine", "vm")
    await until_gone(kube, "VirtualMachine", "vm")
    # an instance that never ran is gone as soon as that is asked for
    await life.is_as_recorded(recording(name, *VM_KINDS), name="vm-m", brief=("Stopping", "ErrorUnschedulable"))


async def test_a_machine_on_disks_of_its_own_is_told_as_recorded(life: Life, kube: Kube, tmp_path: Path) -> None:
    """runStrategy Once: an empty disk, and a CD that is imported, boots, and powers off."""
    iso = boot_iso(tmp_path, "installed", FOR_A_WHILE + POWER_OFF)
    empty = a_volume("", name="root")
    empty["spec"]["source"] = {"blank": {}}
    machine = a_machine(strategy="Once")
    machine["spec"]["dataVolumeTemplates"] = [
        {"metadata": {"name": each["metadata"]["name"]}, "spec": each["spec"]}
        for each in (empty, a_volume(iso.as_uri(), name="cd", size="64Mi"))
    ]
    spec = machine["spec"]["template"]["spec"]
    spec["volumes"].append({"name": "cd", "dataVolume": {"name": "cd"}})
    spec["domain"]["devices"]["disks"].append({"name": "cd", "bootOrder": 2, "cdrom": {"bus": "sata"}})
    await kube.create(machine)
    await life.is_over()
    with pytest.raises(Conflict, match="Once does not support manual start requests"):
        await kube.act("VirtualMachine", "vm", "start")
    await kube.delete("VirtualMachine", "vm")
    await until_gone(kube, "VirtualMachine", "vm")
    await life.is_as_recorded(recording("vm-once-iso", *VM_KINDS), name="vm-i")
    volumes = await told_since(kube, life.begin, "DataVolume")
    real = recording("vm-once-iso", "DataVolume")
    compare(volumes, real, "DataVolume", ours="root", theirs="vm-i-root")
    compare(volumes, real, "DataVolume", ours="cd", theirs="vm-i-cd")


async def test_a_machine_whose_disk_fails_and_is_tried_again_alternates(
    life: Life, kube: Kube, site: Site, quick_retries: None
) -> None:
    del quick_retries
    machine = a_machine(strategy="Once")
    volume = a_volume(site.url)
    machine["spec"]["dataVolumeTemplates"] = [{"metadata": {"name": "root"}, "spec": volume["spec"]}]
    await kube.create(machine)
    await until(kube, "DataVolume", failed(2), seconds=30)
    await life.reads("DataVolumeError", created=False)
    local = states_of(await told_since(kube, life.begin, "VirtualMachine"), "VirtualMachine")
    real = states_of(recording("vm-dv-failing", "VirtualMachine"), "VirtualMachine")
    assert words_of(local) == words_of(real)[: len(words_of(local))]
    assert words_of(local).count("DataVolumeError") >= 3


def made_and_asked() -> list[Recorded]:
    """The first moments of a VM, up to the request to start it: of another one, as vm-b's are not recorded."""
    events = recording("vm-manual-lifecycle", "VirtualMachine")
    asked = next(number for number, event in enumerate(events) if event.status.get("stateChangeRequests"))
    return [replace(event, object=renamed(event.object, "vm-b")) for event in events[: asked + 1]]


def renamed(obj: Object, name: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "name": name}}


def booted(*, until_rebooted: bool = False) -> list[Recorded]:
    """The life of vm-b until its guest has booted, or has done so twice."""
    events = recording("vm-guest-reboot", *VM_KINDS)
    return [*made_and_asked(), *(event for event in events if until_rebooted or event.at < 44)]


JOB_KINDS = ("Job", "Pod")
SOON = Backoff(first_seconds=1.2, longest_seconds=5)
"""More than the second to which a container's end is written down."""


@pytest.fixture
async def jobs(local_api: ApiServer) -> AsyncIterator[JobController]:
    """Tries again after 1.2 s where a real one waits 10 s."""
    async with (
        await Kube.connect(local_api.kubeconfig_of("jobs")) as connection,
        JobController(connection, backoff=SOON) as running,
    ):
        yield running


class Work:
    """The Job of a recording, whose container waits until the test lets it end."""

    def __init__(self, kube: Kube, name: str, folder: Path, begin: str) -> None:
        self.kube, self.name, self.gate, self.begin = kube, name, folder / "gate", begin
        os.mkfifo(self.gate)

    async def make(self, code: int) -> None:
        recorded = next(event.object for event in recording(self.name, "Job"))
        script = f"trap '' TERM; read _ <{self.gate}; echo {SAYS.get(code, '')}; exit {code}"
        spec = {key: value for key, value in recorded["spec"].items() if key not in ("selector", "template")}
        template = recorded["spec"]["template"]["spec"]
        container = {**template["containers"][0], "command": ["sh", "-c", script]}
        spec["template"] = {"spec": {**template, "containers": [container]}}
        spec["template"]["spec"]["terminationGracePeriodSeconds"] = 1
        if "activeDeadlineSeconds" in spec:
            spec["activeDeadlineSeconds"] = 3
        await self.kube.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "step"}, "spec": spec})

    async def is_ready(self, *, failed: int = 0) -> Object:
        """The container runs, and the Job controller knows it; this many have run before."""

        def check(job: Object) -> bool:
            status = job.get("status") or {}
            return bool(status.get("ready")) and (status.get("failed") or 0) == failed

        return await until(self.kube, "Job", check, seconds=20)

    async def lets_go(self) -> None:
        await asyncio.to_thread(self.gate.write_text, "\n")

    async def pod(self) -> str:
        """The Pod that is at work."""
        return str((await until(self.kube, "Pod", lambda pod: pod["status"]["phase"] == "Running"))["metadata"]["name"])

    async def is_as_recorded(self) -> None:
        await until(self.kube, "Job", is_over, seconds=20)
        local, real = await told_since(self.kube, self.begin, *JOB_KINDS), recorded_job(self.name)
        ours, theirs = (shown(events, "Job", only=self.name) for events in (local, real))
        must_be_within(ours, theirs)
        assert conditions_of(ours) == conditions_of(theirs)
        for mine, its in zip(pods_of(local), pods_of(real), strict=True):
            must_be_same(shown(mine, "Pod"), shown(its, "Pod"))


SAYS = {1: "bug", 20: "no such package", 0: "hello"}


def is_over(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def conditions_of(states: States) -> list[list[str]]:
    return [conditions for conditions, _ in groupby(state["conditions"] for state in states)]


def pods_of(events: list[Recorded]) -> list[list[Recorded]]:
    """The events of each Pod, in the order in which they were made."""
    names = dict.fromkeys(event.name for event in events if event.kind == "Pod")
    return [[event for event in events if event.name == name] for name in names]


@pytest.fixture
async def work(kube: Kube, jobs: JobController, tmp_path: Path, request: pytest.FixtureRequest) -> Work:
    del jobs
    return Work(kube, request.param, tmp_path, await version_of(kube))


@pytest.mark.parametrize(
    ("work", "code", "times"),
    [("job-exit-0", 0, 1), ("job-exit-20", 20, 1), ("job-exit-1", 1, 3)],
    indirect=["work"],
)
async def test_a_job_whose_container_ends_is_told_as_recorded(work: Work, code: int, times: int) -> None:
    await work.make(code)
    for number in range(times):
        await work.is_ready(failed=number)
        await work.lets_go()
    await work.is_as_recorded()


@pytest.mark.parametrize("work", ["job-deadline"], indirect=True)
async def test_a_job_that_passes_its_deadline_is_told_as_recorded(work: Work) -> None:
    await work.make(0)
    await work.is_ready()
    await work.is_as_recorded()


@pytest.mark.parametrize("work", ["job-pod-deleted"], indirect=True)
async def test_a_job_whose_pod_is_deleted_is_told_as_recorded(work: Work, kube: Kube) -> None:
    await work.make(0)
    await work.is_ready()
    await kube.delete("Pod", await work.pod())
    await work.is_ready(failed=1)
    await work.lets_go()
    await work.is_as_recorded()


@pytest.mark.parametrize("work", ["job-suspended"], indirect=True)
async def test_a_job_made_suspended_is_told_as_recorded(work: Work, kube: Kube) -> None:
    await work.make(0)
    await until(kube, "Job", lambda job: bool((job.get("status") or {}).get("conditions")))
    await kube.patch("Job", "step", {"spec": {"suspend": False}})
    await work.is_ready()
    await work.lets_go()
    await work.is_as_recorded()


@pytest.mark.parametrize("work", ["job-suspend-running"], indirect=True)
async def test_a_job_suspended_while_it_runs_is_told_as_recorded(work: Work, kube: Kube) -> None:
    await work.make(0)
    await work.is_ready()
    await kube.patch("Job", "step", {"spec": {"suspend": True}})
    await until(kube, "Job", lambda job: bool(job["status"].get("conditions")) and not job["status"].get("terminating"))
    await kube.patch("Job", "step", {"spec": {"suspend": False}})
    await work.is_ready()
    await work.lets_go()
    await work.is_as_recorded()
