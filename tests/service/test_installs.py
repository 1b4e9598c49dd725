"""Installs from an ISO: the real step follows a real machine's console, with installers of one sector."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import ClusterSettings, Settings
from goldenpipe_kube import Kube
from goldenpipe_local.cluster import LocalCluster
from support.guests import HANG, POWER_OFF, RESET
from support.installers import installer_iso
from support.rest import Object, Rest
from support.templates import Overlay

pytestmark = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")

IMAGES = "/api/v1/images"
STALL_SECONDS = 6
KERNEL = "Linux version 6.12.1\r\n"
DONE = "goldenpipe: installed\r\n"
DRAW = bytes.fromhex("fb b800b8 8ec0 8b1e6c04 a16c04 26a20000 29d8 3d2201 72f2") + POWER_OFF
"""sti; es: the screen; bx: now; again: ax: the clock, its low byte onto the screen; until 290 ticks are over (16 s)."""
PKGSEL = "Nov 25 10:00:00 main-menu[1]: INFO: Menu item 'pkgsel' selected\r\n"


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(tmp_path / "data") as started:
        yield started


@pytest.fixture
async def rest(cluster: LocalCluster, tmp_path: Path, overlay: Overlay) -> AsyncIterator[Rest]:
    known = ClusterSettings(install_stall_seconds=STALL_SECONDS)
    settings = Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,), cluster=known)
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


@pytest.fixture
async def kube(cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with await Kube.connect(cluster.kubeconfig) as client:
        yield client


async def install(rest: Rest, overlay: Overlay, iso: Path, *, installer: str = "debian-installer") -> Object:
    """The last status of a build that downloads this ISO, takes it as it is, and installs from it."""
    facts = {"iso_installer": installer, "iso_title": "Tiny Linux", "iso_firmware": "bios"}
    facts["boot_iso"] = "{{ build.id }}-iso"
    report = "printf '%s\\n%s' Looked \"$REPORT\" > $GOLDENPIPE_TERMINATION_LOG"
    overlay.use("download_iso").step("look", report, env={"REPORT": json.dumps({"facts": facts})}).use("install_os")
    small = {"storage_size": "16Mi", "memory": "128Mi", "cpu": 1}
    await rest.create("a", base_iso_url=iso.as_uri(), **small)
    return await rest.end("a", seconds=120)


async def test_an_installer_that_says_so_and_powers_off_has_installed(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    status = await install(rest, overlay, installer_iso(tmp_path, KERNEL + PKGSEL + DONE, POWER_OFF))
    assert status["status"] == "ready", status["error"]
    assert status["steps"][-1]["message"] == "Tiny Linux is installed, and the machine has powered itself off"
    log = await rest.text(f"{IMAGES}/a/steps/install_os/logs")
    assert "[ 66%] Installing packages" in log
    assert [each["metadata"]["name"] for each in await kube.list("DataVolume")] == ["golden-image-a"]
    assert await kube.list("VirtualMachine") == []


async def test_an_installer_that_is_silent_and_draws_is_not_taken_for_stalled(
    rest: Rest, overlay: Overlay, tmp_path: Path
) -> None:
    status = await install(rest, overlay, installer_iso(tmp_path, KERNEL + DONE, DRAW))
    assert status["status"] == "ready", status["error"]


@pytest.mark.parametrize(
    ("text", "then", "words"),
    [
        pytest.param(KERNEL + PKGSEL, POWER_OFF, "powered off before the installer had said", id="off too early"),
        pytest.param(KERNEL + "Installation step failed\r\n", HANG, "stopped: Installation step failed", id="a dialog"),
        pytest.param(
            KERNEL + "Which mirror?\r\nPrompt: '?' for help> ", HANG, "asks something that the answer", id="a question"
        ),
        pytest.param(KERNEL + PKGSEL, HANG, f"neither said nor shown anything for {STALL_SECONDS}", id="silence"),
        pytest.param(KERNEL, RESET, "has booted 5 times", id="a reboot loop"),
        pytest.param("goldenpipe: failed: no network\r\n", POWER_OFF, "the installer failed: no network", id="told"),
    ],
)
async def test_an_install_that_goes_wrong_ends_with_its_reason(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path, text: str, then: bytes, words: str
) -> None:
    status = await install(rest, overlay, installer_iso(tmp_path, text, then))
    assert status["status"] == "failed"
    error = status["error"]
    assert error["step"] == "install_os"
    assert words in error["message"]
    assert f"the console's last lines: {text.splitlines()[0][:20]}" in error["message"]
    for kind in ("VirtualMachine", "DataVolume", "PersistentVolumeClaim", "Secret"):
        assert await kube.list(kind, labels="goldenpipe.io/image=a,!goldenpipe.io/record") == [], kind
    async with rest.session.get(f"{rest.address}{IMAGES}/a/screenshot") as answer:
        assert answer.status == (404 if then is POWER_OFF else 200)


async def test_an_installer_that_nothing_is_known_of_is_refused_in_words(
    rest: Rest, overlay: Overlay, tmp_path: Path
) -> None:
    status = await install(rest, overlay, installer_iso(tmp_path, "hello", HANG), installer="yaboot")
    assert "nothing is known of the installer 'yaboot'" in status["error"]["message"]
