"""Starting, sealing and publishing: the steps that work with the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import asyncssh
import pytest

from support.steps.clusters import DISK, VM, Cluster, condition
from support.steps.guests import USER, Guest
from support.steps.running import Run, Runner

Start = Callable[..., Coroutine[Any, Any, Run]]


@pytest.fixture
def begin(cluster: Cluster, steps: Runner) -> Start:
    """Start a step that uses the API; and, in tests that have a guest, with the guest's keys."""

    async def start_step(name: str, *, guest: Guest | None = None, **params: Any) -> Run:
        document = cluster.document(**params)
        environ = cluster.environ(name)
        if guest:
            environ["GOLDENPIPE_SSH"] = str(guest.ssh_folder)
            if name == "seal_image":
                document["guest"] = {"address": "127.0.0.1", "port": guest.port, "user": USER}
        return await steps.start(name, document, **environ)

    return start_step


async def test_the_machine_is_started_and_its_guest_looked_at(cluster: Cluster, guest: Guest, begin: Start) -> None:
    await cluster.make_vm()
    await guest.run(
        'mkdir -p /run/cloud-init; echo \'{"v1": {"errors": ["no such key"]}}\' >/run/cloud-init/result.json'
    )
    step = await begin("create_vm", guest=guest, user=USER)
    await cluster.vm_is_asked_to("start")
    await cluster.make_vmi("Scheduling", ssh_port=guest.port)
    await step.line("Scheduling")
    await cluster.set_vmi("Running", condition("SoftwareEmulation", "True", "NoKVM", "KVM does not work here"))
    assert await step.ended() == 0, step.log
    assert step.facts["os_id"] == "debian"
    assert step.facts["package_manager"] == "apt"
    assert (step.facts["address"], step.facts["port"]) == ("127.0.0.1", guest.port)
    assert step.facts["emulated"] is True
    assert "SoftwareEmulation: KVM does not work here" in step.lines
    assert "Warning: cloud-init: no such key" in step.lines


async def test_a_machine_that_runs_already_is_taken_up(cluster: Cluster, guest: Guest, begin: Start) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=guest.port)
    step = await begin("create_vm", guest=guest, user=USER)
    assert await step.ended() == 0, step.log
    assert "already running" in step.log


async def test_a_machine_that_dies_while_booting_fails_the_step_at_once(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=1)
    step = await begin("create_vm", guest=guest, user=USER, ssh_timeout_seconds=60)
    await step.line("Waiting for the guest")
    await cluster.set_vmi("Failed", condition("Ready", "False", "GuestPanicked", "Kernel panic - not syncing: VFS"))
    assert await step.ended(10) == 20
    assert "stopped with a failure while it booted: Kernel panic - not syncing: VFS" in step.message


async def test_a_machine_deleted_while_booting_fails_the_step_at_once(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=1)
    step = await begin("create_vm", guest=guest, user=USER, ssh_timeout_seconds=60)
    await step.line("Waiting for the guest")
    await cluster.kube.delete("VirtualMachineInstance", VM)
    assert await step.ended(10) == 20
    assert "was deleted while the build needed it" in step.message


async def test_no_ssh_within_the_limit_is_permanent_with_a_hint(cluster: Cluster, guest: Guest, begin: Start) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=1)
    step = await begin("create_vm", guest=guest, user=USER, ssh_timeout_seconds=1)
    assert await step.ended(20) == 20
    assert "did not answer by SSH within 1.0 s (Connect call failed" in step.message.replace("[Errno 111] ", "")
    assert "console is silent" in step.extra["hint"]


async def test_no_ssh_shows_how_far_the_console_got(cluster: Cluster, guest: Guest, begin: Start) -> None:
    await cluster.make_vm()
    vmi = await cluster.make_vmi("Running", ssh_port=1)
    await cluster.make_console(vmi, "\x1b[0mBooting\r\n" * 30 + "error: no such partition.\r\ngrub rescue> ")
    step = await begin("create_vm", guest=guest, user=USER, ssh_timeout_seconds=1)
    assert await step.ended(20) == 20
    assert step.message.endswith("error: no such partition. / grub rescue>")


async def test_a_machine_that_cannot_run_says_why(cluster: Cluster, guest: Guest, begin: Start) -> None:
    await cluster.make_vm()
    step = await begin("create_vm", guest=guest, user=USER, boot_timeout_seconds=2)
    await cluster.vm_is_asked_to("start")
    scheduled = condition("PodScheduled", "False", "Unschedulable", "1 Insufficient memory")
    await cluster.set_status("VirtualMachine", VM, printableStatus="ErrorUnschedulable", conditions=[scheduled])
    assert await step.ended(20) == 20
    assert "did not run within 2.0 s: it is ErrorUnschedulable" in step.message
    assert "Insufficient memory" in step.message + step.extra["hint"]


async def test_a_disk_that_waited_for_this_vm_is_followed_before_the_boot_is_timed(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_disk("WaitForFirstConsumer", immediate=False)
    step = await begin("create_vm", guest=guest, user=USER, boot_timeout_seconds=1)
    await cluster.vm_is_asked_to("start")
    await cluster.make_vmi("Pending", ssh_port=guest.port)
    for progress in ("10.00%", "70.00%"):
        await cluster.set_status("DataVolume", DISK, phase="ImportInProgress", progress=progress)
        await asyncio.sleep(0.7)  # together longer than a boot may take
    # the VM shows this for a moment at each retry of CDI
    await cluster.set_status("VirtualMachine", VM, printableStatus="DataVolumeError")
    await step.line("Downloading the base image (70%)")
    await cluster.set_status("DataVolume", DISK, phase="Succeeded", progress="100.0%")
    await cluster.set_vmi("Running")
    assert await step.ended() == 0, step.log


async def test_an_import_that_fails_while_the_vm_waits_for_it_is_told_in_the_same_words(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_disk("PendingPopulation", immediate=False)
    step = await begin("create_vm", guest=guest, url="http://images.example/disk.img", storage_size="1Gi")
    await cluster.vm_is_asked_to("start")
    error = condition("Running", "False", "Error", "DataVolume too small to contain image")
    await cluster.set_status("DataVolume", DISK, phase="ImportInProgress", conditions=[error])
    assert await step.ended(20) == 20
    assert step.message == "the disk in disk.img is larger than storage_size 1Gi"


async def test_a_disk_whose_vm_no_node_can_run_fails_with_what_to_look_at(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_disk("WaitForFirstConsumer", immediate=False)
    step = await begin("create_vm", guest=guest, pending_timeout_seconds=1)
    assert await step.ended(20) == 20
    assert f"the import into {DISK} did not begin within 1.0 s: WaitForFirstConsumer" in step.message
    assert "kubectl describe vm" in step.extra["hint"]


async def test_the_address_is_that_of_the_vms_own_network_whatever_an_agent_lists_first(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    vmi = await cluster.make_vmi("Running", ssh_port=guest.port)
    found = [{"name": "docker0", "ipAddress": "127.0.0.9"}, {"name": "default", "ipAddress": "127.0.0.1"}]
    spec = {"networks": [{"name": "default", "pod": {}}]}
    await cluster.kube.patch(
        "VirtualMachineInstance", vmi["metadata"]["name"], {"spec": spec, "status": {"interfaces": found}}
    )
    step = await begin("create_vm", guest=guest, user=USER)
    assert await step.ended() == 0, step.log
    assert step.facts["address"] == "127.0.0.1"


async def test_a_vm_that_runs_without_an_address_is_told_as_that(cluster: Cluster, guest: Guest, begin: Start) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Running")
    await cluster.kube.patch("VirtualMachineInstance", VM, {"status": {"interfaces": []}})
    await cluster.set_status("VirtualMachine", VM, printableStatus="Running")
    step = await begin("create_vm", guest=guest, boot_timeout_seconds=1)
    assert await step.ended(20) == 20
    assert f"the virtual machine {VM} runs, but had no address within 1.0 s" in step.message
    assert "guest agent" in step.extra["hint"]


async def test_a_foreign_host_key_is_never_accepted(guest: Guest, steps: Runner) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    (guest.ssh_folder / "host-public-key").write_bytes(other.export_public_key())
    address = {"address": "127.0.0.1", "port": guest.port, "user": USER}
    document = {"guest": address, "params": {"scripts": [{"name": "x", "content": "touch /root/x"}]}}
    step = await steps.start("run_scripts", document, GOLDENPIPE_SSH=str(guest.ssh_folder))
    assert await step.ended(40) == 20
    assert "another host key than the one made for this build" in step.message
    assert await guest.run("ls /root") == ""


TRACES = """
set -e
mkdir -p /var/lib/cloud/instance /etc/cloud/clean.d /var/log/journal/abc /var/lib/dhcp /etc/netplan
for path in /var/lib/cloud/instance/user-data.txt /var/log/cloud-init.log /var/lib/dhcp/dhclient.eth0.leases \
    /etc/netplan/50-cloud-init.yaml /root/.bash_history /home/admin/.bash_history /tmp/left /var/tmp/left \
    /var/log/journal/abc/system.journal /var/log/syslog.1 /var/lib/apt/lists/some_Packages /var/lib/goldenpipe/x \
    /var/lib/systemd/random-seed /home/goldenpipe/secret; do
    mkdir -p "${path%/*}"
    echo trace >"$path"
done
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
echo golden-image-web-3fa9c >/etc/hostname
echo line >/var/log/messages
"""


async def test_a_sealed_disk_has_no_trace_of_the_build(cluster: Cluster, guest: Guest, begin: Start) -> None:
    await guest.run("useradd -m -p '*' admin; echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/60-admin")
    await guest.run(TRACES)
    await guest.run(
        "mkdir -p /root/.ssh; cd /root/.ssh; cp /home/goldenpipe/.ssh/authorized_keys .; "
        "echo ssh-rsa ME me >>authorized_keys"
    )
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=guest.port)
    step = await begin("seal_image", guest=guest)
    await guest.powered_off()
    await cluster.set_vmi("Succeeded")
    assert await step.ended() == 0, step.log
    await guest.start(sshd=False)
    left = await guest.run(
        "ls -A /var/lib/cloud /etc/netplan /tmp /var/tmp /var/log/journal /var/lib/dhcp /var/lib/apt/lists /home; "
        "ls -d /var/lib/goldenpipe /etc/ssh/ssh_host_* /root/.bash_history /home/admin/.bash_history "
        "/var/log/cloud-init.log /var/log/syslog.1 /etc/sudoers.d/90-cloud-init-users /var/lib/systemd/random-seed "
        "/home/goldenpipe 2>/dev/null; grep -r goldenpipe /etc /root --exclude-dir=alternatives -l; true"
    )
    assert [line for line in left.splitlines() if line and not line.endswith(":")] == ["admin"]
    assert (
        await guest.run("stat -c '%s %n' /etc/machine-id /var/log/messages")
        == "0 /etc/machine-id\n0 /var/log/messages\n"
    )
    assert await guest.run("cat /etc/hostname /root/.ssh/authorized_keys") == "localhost\nssh-rsa ME me\n"
    assert await guest.run("ls /etc/sudoers.d") == "60-admin\nREADME\n"


async def test_a_machine_that_fails_instead_of_powering_off_is_not_sealed(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=guest.port)
    step = await begin("seal_image", guest=guest)
    await guest.powered_off()
    await cluster.set_vmi("Failed", condition("Ready", "False", "", "QEMU was killed by signal 9"))
    assert await step.ended() == 20
    assert step.message == "the machine did not power off cleanly but failed: QEMU was killed by signal 9"


async def test_a_guest_that_powered_off_by_itself_is_not_taken_for_sealed(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Succeeded", ssh_port=guest.port)
    await guest.stop()
    step = await begin("seal_image", guest=guest)
    assert await step.ended() == 20
    assert "powered off by itself before it was sealed" in step.message


async def test_a_seal_whose_step_was_killed_is_finished_by_the_next_attempt(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=guest.port)
    first = await begin("seal_image", guest=guest)
    await first.line("The seal begins")
    await first.line("Removing the state of cloud-init")
    first.process.kill()
    await first.ended()
    await guest.powered_off()
    await cluster.make_step_pod("seal_image", "Failed", first.log)
    await cluster.set_vmi("Succeeded")
    second = await begin("seal_image", guest=guest)
    assert await second.ended() == 0, second.log


async def test_a_guest_that_does_not_power_off_is_a_permanent_failure(
    cluster: Cluster, guest: Guest, begin: Start
) -> None:
    await guest.run("printf '#!/bin/sh\\n' >/usr/sbin/poweroff")
    await cluster.make_vm()
    await cluster.make_vmi("Running", ssh_port=guest.port)
    step = await begin("seal_image", guest=guest, poweroff_timeout_seconds=1)
    assert await step.ended() == 20
    assert "did not power off within 1.0 s after it was sealed" in step.message


async def test_a_finished_image_is_published_with_its_size(cluster: Cluster, begin: Start) -> None:
    await cluster.make_disk("Succeeded")
    await cluster.make_claim("Bound", **{"goldenpipe.io/allocated-bytes": "1234567"})
    await cluster.make_source()
    step = await begin("publish_image", used_bytes=99)
    assert await step.ended() == 0, step.log
    assert step.facts == {"size_bytes": 1234567}


@pytest.mark.parametrize(
    ("phase", "claim", "vmi", "words"),
    [
        ("ImportInProgress", "Bound", None, f"the DataVolume {DISK} is ImportInProgress, not Succeeded"),
        ("Succeeded", "Lost", None, f"the PersistentVolumeClaim {DISK} is Lost, not Bound"),
        ("Succeeded", None, None, "the image's disk was deleted"),
        ("Succeeded", "Bound", "Running", "is Running, so its disk is not free"),
    ],
)
async def test_an_unfinished_image_is_not_published(
    cluster: Cluster, begin: Start, phase: str, claim: str | None, vmi: str | None, words: str
) -> None:
    await cluster.make_disk(phase)
    if claim:
        await cluster.make_claim(claim)
    if vmi:
        await cluster.make_vmi(vmi)
    await cluster.make_source()
    step = await begin("publish_image")
    assert await step.ended() == 20, step.log
    assert words in step.message


async def test_a_step_without_the_right_it_needs_says_what_its_template_lacks(cluster: Cluster, steps: Runner) -> None:
    """As with a template of one's own that forgets the account."""
    await cluster.make_vm()
    step = await steps.run("create_vm", cluster.document(), **cluster.environ("download_iso"))
    assert await step.ended() == 20
    assert "may not use the Kubernetes API as it must" in step.message
    assert "service_account" in step.extra["hint"]


async def test_a_dead_api_is_a_temporary_failure(cluster: Cluster, steps: Runner) -> None:
    environ = cluster.environ("publish_image")
    await cluster.server.__aexit__(None, None, None)
    step = await steps.start("publish_image", cluster.document(), **environ)
    async with asyncio.timeout(30):
        assert await step.ended() == 10, step.log
    assert "the Kubernetes API" in step.message
