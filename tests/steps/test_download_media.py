"""An installer ISO is looked into at its URL: what cannot be installed from is refused before it is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from support.isos import DEBIAN_NETINST, UBUNTU_OLD_DESKTOP, Layout, make_iso
from support.steps.clusters import DISK, Cluster
from support.steps.running import Run, Runner
from support.steps.site import Server, serving

pytestmark = pytest.mark.skipif(not shutil.which("xorriso"), reason="needs xorriso")

Download = Callable[..., Coroutine[Any, Any, Run]]
POOL = {f"pool/main/p/package-{number}/package_{number}_amd64.deb": b"x" * 5000 for number in range(500)}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as one:
        yield one


@pytest.fixture
def download(cluster: Cluster, steps: Runner) -> Download:
    async def start_step(url: str, **params: Any) -> Run:
        asked = {"url": url, "kind": "iso", "os_type": "linux", "volume": DISK, **params}
        return await steps.start("download_iso", cluster.document(**asked), **cluster.environ("download_iso"))

    return start_step


def iso(folder: Path, layout: Layout) -> bytes:
    return make_iso(folder / "a.iso", layout, folder / "tree").read_bytes()


async def test_what_is_on_the_medium_is_known_from_a_few_ranges_of_it(
    server: Server, cluster: Cluster, download: Download, tmp_path: Path
) -> None:
    server.files["/debian.iso"] = iso(tmp_path, Layout(label="Debian 12", files={**DEBIAN_NETINST.files, **POOL}))
    await cluster.make_disk("Succeeded")
    step = await download(f"{server.url}/debian.iso")
    assert await step.ended() == 0, step.log
    assert step.facts == {
        "format": "iso",
        "source_bytes": len(server.files["/debian.iso"]),
        "iso_distribution": "debian",
        "iso_version": "12.5.0",
        "iso_variant": "netinst",
        "iso_installer": "debian-installer",
        "iso_arch": "amd64",
        "iso_title": 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27',
        "iso_firmware": "bios,uefi",
    }
    asked = [span.removeprefix("bytes=").split("-") for path, span in server.asked if path == "/debian.iso"]
    assert len(asked) <= 16
    assert sum(int(last) - int(first) + 1 for first, last in asked) < len(server.files["/debian.iso"])


async def test_a_desktop_that_cannot_be_automated_is_refused_before_its_download(
    server: Server, cluster: Cluster, download: Download, tmp_path: Path
) -> None:
    server.files["/current.iso"] = iso(tmp_path, UBUNTU_OLD_DESKTOP)
    await cluster.make_disk("ImportInProgress")
    step = await download(f"{server.url}/current.iso")
    assert await step.ended() == 20
    assert "cannot be installed unattended" in step.message
    assert "ubuntu-22.04.3-live-server-amd64.iso" in step.extra["hint"]


async def test_without_ranges_the_download_goes_on_and_says_when_it_will_be_known(
    server: Server, cluster: Cluster, download: Download, tmp_path: Path
) -> None:
    server.has_ranges = False
    server.files["/debian.iso"] = iso(tmp_path, DEBIAN_NETINST)
    await cluster.make_disk("Succeeded")
    step = await download(f"{server.url}/debian.iso")
    assert await step.ended() == 0, step.log
    assert "what is on the ISO is seen after its download" in step.log
    assert set(step.facts) == {"format", "source_bytes"}


async def test_a_server_that_breaks_off_in_the_middle_of_looking_is_asked_again(
    server: Server, cluster: Cluster, download: Download, tmp_path: Path
) -> None:
    server.files["/debian.iso"] = iso(tmp_path, DEBIAN_NETINST)
    await cluster.make_disk("Succeeded")
    server.fail_from = 2
    server.statuses["/debian.iso"] = [503, 502]
    step = await download(f"{server.url}/debian.iso")
    assert await step.ended() == 0, step.log
    assert step.facts["iso_distribution"] == "debian"


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("iso", b"QFI\xfb\0\0\0\x03".ljust(70_000, b"\0"), "is a disk image (qcow2), not an ISO"),
        ("disk", b"", "is an installer ISO, not a disk image"),
        ("iso", b"hello\n" * 99, "is not an installer ISO: it is neither qcow2 nor raw"),
    ],
)
async def test_a_wrong_guess_of_the_service_is_told_with_what_to_do(
    server: Server, download: Download, tmp_path: Path, kind: str, body: bytes, words: str
) -> None:
    server.files["/image"] = body or iso(tmp_path, DEBIAN_NETINST)
    step = await download(f"{server.url}/image", kind=kind)
    assert await step.ended() == 20
    assert words in step.message
    assert step.extra["hint"]


async def test_a_windows_iso_is_not_taken_for_linux(server: Server, download: Download, tmp_path: Path) -> None:
    files = {"sources/boot.wim": b"x", "sources/install.wim": b"x", "efi/boot/bootx64.efi": b"x"}
    server.files["/win.iso"] = iso(tmp_path, Layout(label="CCCOMA", files=files))
    step = await download(f"{server.url}/win.iso")
    assert await step.ended() == 20
    assert "the request says os_type: linux" in step.message
