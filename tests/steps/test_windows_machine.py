"""Installing Windows and sealing it: the steps that work with the cluster, which the test plays, and with the guest."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from support.steps.clusters import VM, Cluster
from support.steps.guests import USER
from support.steps.running import Run, Runner
from support.steps.windows import Answer, Windows

Start = Callable[..., Coroutine[Any, Any, Run]]
_FIRMWARE = 'BdsDxe: loading Boot0002 "UEFI QEMU DVD-ROM QM00003 "\r\n'


@pytest.fixture
def begin(cluster: Cluster, windows: Windows, steps: Runner) -> Start:
    async def start_step(name: str, **params: Any) -> Run:
        document = {**cluster.document(user=USER, **params), "os_type": "windows"}
        if name == "seal_image":
            document["guest"] = {"address": "127.0.0.1", "port": windows.port, "user": USER}
        return await steps.start(name, document, **cluster.environ(name), GOLDENPIPE_SSH=str(windows.ssh_folder))

    return start_step


async def test_an_install_tells_how_far_it_is_and_ends_when_the_guest_answers(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    await windows.stop()
    await cluster.make_vm()
    step = await begin("install_windows")
    await cluster.vm_is_asked_to("start")
    vmi = await cluster.make_vmi("Running", ssh_port=windows.port)
    marks = "goldenpipe: 5 Windows Setup has started\r\ngoldenpipe: 55 Windows is on the disk and sets itself up\r\n"
    await cluster.make_console(vmi, _FIRMWARE + marks)
    await step.line("[  5%] Windows Setup has started")
    await step.line("[ 55%] Windows is on the disk and sets itself up")
    await windows.start()
    assert await step.ended() == 0, step.log
    assert step.message == "The guest runs Windows Server 2022 Standard"
    assert step.facts["os_id"] == "windows"
    assert step.facts["os_version"] == "10.0.20348"


async def test_a_first_logon_that_fails_ends_the_install_in_its_own_words(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    await windows.stop()
    await cluster.make_vm()
    step = await begin("install_windows")
    vmi = await cluster.make_vmi("Running", ssh_port=windows.port)
    await cluster.make_console(vmi, "goldenpipe: failed: the first logon: the OpenSSH capability cannot be had\r\n")
    assert await step.ended() == 20
    assert step.message.startswith("setting up Windows failed in the guest: the first logon: the OpenSSH capability")
    assert "first-logon.log" in step.extra["hint"]


@pytest.mark.parametrize(
    ("console", "words"),
    [
        ("Press any key to boot from CD or DVD......\r\n", "the ISO waits for a key to be pressed"),
        ("\x1b[2J\x1b[01;01HUEFI Interactive Shell v2.2\r\nShell> \r\n", "the firmware found nothing to boot"),
        ("BdsDxe: No bootable option or device was found.\r\n", "the firmware cannot boot the ISO"),
    ],
)
async def test_an_iso_that_does_not_boot_is_told_before_the_time_for_an_install_is_over(
    cluster: Cluster, windows: Windows, begin: Start, console: str, words: str
) -> None:
    await windows.stop()
    await cluster.make_vm()
    step = await begin("install_windows", setup_timeout_seconds=3)
    vmi = await cluster.make_vmi("Running", ssh_port=windows.port)
    await cluster.make_console(vmi, _FIRMWARE + console)
    assert await step.ended() == 20
    assert words in step.message
    assert "prepare_iso" in step.extra["hint"]


async def test_an_install_that_never_answers_says_what_was_heard_last(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    await windows.stop()
    await cluster.make_vm()
    step = await begin("install_windows", stall_seconds=4)
    vmi = await cluster.make_vmi("Running", ssh_port=windows.port)
    await cluster.make_console(vmi, "goldenpipe: 55 Windows is on the disk and sets itself up\r\n")
    assert await step.ended() == 20
    assert "neither said nor shown anything" in step.message
    assert "it was at: Windows is on the disk and sets itself up" in step.message


async def test_a_machine_that_powers_off_in_the_install_fails_it_at_once(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    await windows.stop()
    await cluster.make_vm()
    step = await begin("install_windows")
    await cluster.make_vmi("Running", ssh_port=windows.port)
    await step.line("waiting for Windows Setup")
    await cluster.set_vmi("Succeeded")
    assert await step.ended() == 20
    assert step.message.startswith("the machine powered off before the installer had said that it was done")


async def test_a_generalized_windows_is_sealed_by_its_power_off_alone(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    windows.plays["used"] = lambda _: Answer().record("used 12884901888")
    vmi = await cluster.make_vmi("Running")
    step = await begin("seal_image", build_user=USER, keep_ssh=True)
    await windows.hears("reboot")
    await windows.reboot()
    await step.line("The guest seals itself now")
    await windows.stop()
    marks = "goldenpipe: 10 Ending all SSH sessions\r\ngoldenpipe: 60 sysprep generalizes this Windows\r\n"
    await cluster.make_console(vmi, marks)
    await step.line("[ 60%] sysprep generalizes this Windows")
    await cluster.set_vmi("Succeeded")
    assert await step.ended() == 0, step.log
    assert step.message == "Sealed, and powered off cleanly; 12 GiB in use"
    assert step.facts["used_bytes"] == 12 * 2**30


async def test_a_seal_that_fails_in_the_guest_is_not_waited_for(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    vmi = await cluster.make_vmi("Running")
    step = await begin("seal_image", build_user=USER)
    await windows.hears("reboot")
    await windows.reboot()
    words = "goldenpipe: failed: the seal: sysprep ended with exit code 0: Package X was installed for a user\r\n"
    await cluster.make_console(
        vmi, "goldenpipe: failed: of the install, long past\r\ngoldenpipe: 10 Ending all SSH sessions\r\n" + words
    )
    assert await step.ended() == 20
    assert step.message.startswith("sealing failed in the guest: the seal: sysprep ended with exit code 0: Package X")


async def test_a_windows_that_powers_off_before_its_seal_is_not_taken_for_sealed(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    await cluster.make_vmi("Running")
    step = await begin("seal_image", build_user=USER)
    await windows.hears("reboot")
    await cluster.set_vmi("Succeeded")
    assert await step.ended() == 20
    assert step.message == "the guest powered off by itself before it was sealed"


async def test_a_seal_whose_step_was_killed_is_followed_by_the_next_attempt(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    await windows.stop()
    await cluster.make_vmi("Succeeded")
    await cluster.make_step_pod("seal_image", "Failed", "The seal begins\n")
    step = await begin("seal_image", build_user=USER)
    assert await step.ended() == 0, step.log
    assert step.message == "Sealed, and powered off cleanly"


async def test_a_windows_that_somebody_stops_while_sysprep_works_is_not_sealed(
    cluster: Cluster, windows: Windows, begin: Start
) -> None:
    vmi = await cluster.make_vmi("Running")
    await cluster.kube.patch("VirtualMachineInstance", VM, {"metadata": {"finalizers": ["kubevirt.io/test"]}})
    step = await begin("seal_image", build_user=USER)
    await windows.hears("reboot")
    await windows.reboot()
    await step.line("The guest seals itself now")
    await cluster.make_console(vmi, "goldenpipe: 10 Ending all SSH sessions\r\ngoldenpipe: 60 sysprep\r\n")
    await step.line("[ 60%] sysprep")
    await cluster.kube.delete("VirtualMachineInstance", VM)
    assert await step.ended() == 20
    assert step.message == "somebody stopped the machine before it was sealed"
    await cluster.kube.patch("VirtualMachineInstance", VM, {"metadata": {"finalizers": None}})
