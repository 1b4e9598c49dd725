"""Builds from installer ISOs up to the installation: the real steps on the local cluster, with small media."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_kube import Kube
from goldenpipe_local.cluster import LocalCluster
from support.isos import RHEL, UBUNTU_SERVER, Layout, make_iso
from support.rest import Object, Rest
from support.templates import Overlay
from support.watching import until_gone

pytestmark = pytest.mark.skipif(not shutil.which("xorriso"), reason="needs xorriso")

CACHE = "goldenpipe.io/cache=iso"


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "overlay").use("download_iso", "inspect_iso", "prepare_iso")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(tmp_path / "data") as started:
        yield started


@pytest.fixture
async def rest(cluster: LocalCluster, tmp_path: Path, overlay: Overlay) -> AsyncIterator[Rest]:
    settings = Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,))
    async with running(settings, kubeconfig=cluster.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)


@pytest.fixture
async def kube(cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with await Kube.connect(cluster.kubeconfig) as client:
        yield client


def iso(folder: Path, layout: Layout) -> str:
    return make_iso(folder / "an.iso", layout, folder / "tree").as_uri()


def message(status: Object, step: str) -> str:
    return str(next(each["message"] for each in status["steps"] if each["name"] == step))


async def built(rest: Rest, name: str, url: str) -> Object:
    await rest.create(name, base_iso_url=url)
    return await rest.end(name, seconds=90)


async def claims(kube: Kube, labels: str = "") -> list[str]:
    return [claim["metadata"]["name"] for claim in await kube.list("PersistentVolumeClaim", labels=labels)]


async def test_a_second_build_of_the_same_iso_finds_it_prepared(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    overlay.step("install", "echo boots from {{ facts.boot_iso }} {{ facts.iso_distribution }}")
    url = iso(tmp_path, UBUNTU_SERVER)
    first = await built(rest, "a", url)
    assert first["status"] == "ready", first
    assert "Prepared the ISO" in message(first, "prepare_iso")
    (cached,) = await claims(kube)
    assert await claims(kube, CACHE) == [cached]
    log = await rest.text("/api/v1/images/a/steps/install/logs")
    assert f"boots from {cached} ubuntu" in log
    second = await built(rest, "b", url)
    assert "was prepared by an earlier build" in message(second, "prepare_iso")
    assert await claims(kube) == [cached]


async def test_what_a_build_leaves_behind_is_the_prepared_iso_alone(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    overlay.step("install", "exit 20")
    status = await built(rest, "a", iso(tmp_path, UBUNTU_SERVER))
    assert status["error"]["step"] == "install"
    (cached,) = await claims(kube)
    assert await kube.list("DataVolume") == []
    assert {job["metadata"]["labels"]["goldenpipe.io/step"] for job in await kube.list("Job")} == {
        "download_iso",
        "install",
    }
    assert {path.name for path in (tmp_path / "data/cluster/volumes").iterdir()} == {cached}
    await kube.delete("PersistentVolumeClaim", cached)
    await until_gone(kube, "PersistentVolumeClaim", cached)
    assert list((tmp_path / "data/cluster/volumes").iterdir()) == []


async def test_an_iso_that_needs_no_preparing_leaves_nothing(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    overlay.step("install", "echo {{ facts.boot_iso == build.id ~ '-iso' }}")
    status = await built(rest, "a", iso(tmp_path, RHEL))
    assert status["status"] == "ready", status
    assert "True" in await rest.text("/api/v1/images/a/steps/install/logs")
    assert await claims(kube) == []


async def test_two_builds_at_once_share_the_work(rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path) -> None:
    overlay.step("install")
    url = iso(tmp_path, UBUNTU_SERVER)
    both = await asyncio.gather(built(rest, "a", url), built(rest, "b", url))
    assert [status["status"] for status in both] == ["ready", "ready"]
    assert len(await claims(kube)) == 1


async def test_a_claim_of_that_name_that_belongs_to_somebody_else_is_left_alone(
    rest: Rest, overlay: Overlay, kube: Kube, tmp_path: Path
) -> None:
    overlay.step("install")
    url = iso(tmp_path, UBUNTU_SERVER)
    await built(rest, "a", url)
    (cached,) = await claims(kube)
    await kube.patch("PersistentVolumeClaim", cached, {"metadata": {"labels": {"goldenpipe.io/cache": None}}})
    status = await built(rest, "b", url)
    assert f"PersistentVolumeClaim named {cached} exists already" in status["error"]["message"]
    assert await claims(kube) == [cached]
