"""A CDI from before `checksum` (1.65): its definition lacks the field, and the API server drops it without a word."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from goldenpipe.service import running
from goldenpipe.settings import Settings
from support.controlplane import ControlPlane, Programs, cluster_on, definitions
from support.guests import HANG, boot_disk
from support.rest import Rest
from support.templates import Overlay

pytestmark = pytest.mark.cluster
_DISK = "datavolumes.cdi.kubevirt.io"


@pytest.fixture(scope="module")
def old_plane(
    control_plane_with_kubevirt: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    del control_plane_with_kubevirt  # for its reasons to skip
    found = definitions()
    (disk,) = [each for each in found if each["metadata"]["name"] == _DISK]
    for version in disk["spec"]["versions"]:
        source = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["source"]
        del source["properties"]["http"]["properties"]["checksum"]
    with ControlPlane(Programs.find(), tmp_path_factory.mktemp("old-cdi"), definitions=found) as plane:
        yield plane


@pytest.fixture
async def rest(old_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Rest]:
    overlay = Overlay(tmp_path / "overlay").use("download_iso")
    settings = Settings(data_dir=tmp_path / "data", port=0, local=False, templates=(overlay.templates,))
    async with (
        cluster_on(old_plane, tmp_path / "data") as cluster,
        running(settings, kubeconfig=cluster.kubeconfig) as service,
        aiohttp.ClientSession() as session,
    ):
        yield Rest(service.address, session)


@pytest.fixture
async def image(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a disk image that has been there for long."""
    path = boot_disk(tmp_path, "up", HANG)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    app = web.Application()
    app.router.add_static("/", tmp_path)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/{path.name}"
    await runner.cleanup()


async def test_a_checksum_is_checked_all_the_same(rest: Rest, image: str, tmp_path: Path) -> None:
    checksum = f"sha256:{hashlib.sha256((tmp_path / 'guest.qcow2').read_bytes()).hexdigest()}"
    await rest.create("a", base_iso_url=image, base_checksum=checksum)
    status = await rest.end("a")
    assert status["status"] == "ready", status
    log = await rest.text("/api/v1/images/a/steps/download_iso/logs")
    assert "by a second download" in log
    assert f"The checksum is right: {checksum}" in log


async def test_an_image_with_a_wrong_checksum_never_becomes_ready(rest: Rest, image: str) -> None:
    await rest.create("a", base_iso_url=image, base_checksum=f"sha256:{'0' * 64}")
    status = await rest.end("a")
    assert status["status"] == "failed"
    assert f"the checksum of {image} is wrong: expected sha256:{'0' * 64}" in status["error"]["message"]
