"""DataVolumes as qcow2 files: what is imported, what is refused, and what is said about it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import lzma
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from goldenpipe_kube import Event, Kube, Object
from support.guests import POWER_OFF, a_machine, a_volume, boot_disk
from support.watching import until, until_gone

pytestmark = pytest.mark.usefixtures("agent")

MIB = 1 << 20


def finished(volume: Object) -> bool:
    return (volume.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def running(volume: Object) -> Object:
    conditions = (volume.get("status") or {}).get("conditions") or []
    found: Object = next((each for each in conditions if each["type"] == "Running"), {})
    return found


def in_trouble(volume: Object) -> bool:
    return running(volume).get("reason") == "Error"


def info(disk: Path) -> Object:
    output = subprocess.run(["qemu-img", "info", "-U", "--output=json", disk], capture_output=True, check=True).stdout
    document: Object = json.loads(output)
    return document


def content(disk: Path, size: int) -> bytes:
    raw = disk.with_suffix(".check")
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    data = raw.read_bytes()[:size]
    raw.unlink()
    return data


def make_image(path: Path, *options: str, size: str | None = None) -> None:
    sizes = [size] if size else []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, *sizes], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of the volumes on a file system of 2 MiB."""
    folder = tmp_path / "cluster" / "volumes"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class Site:
    """Serves files, and remembers what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ranges: list[str] = []
        self.break_after: int | None = None
        self.server: TestServer

    def put(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return str(self.server.make_url(f"/{name}"))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = self.folder / request.match_info["name"]
        if not path.exists():
            raise web.HTTPNotFound
        wanted = request.headers.get("Range", "")
        self.ranges.append(wanted)
        if self.break_after is not None and not wanted:
            return await self._break_off(request, path)
        return web.FileResponse(path, headers={"Accept-Ranges": "bytes"})

    async def _break_off(self, request: web.Request, path: Path) -> web.StreamResponse:
        stat = path.stat()
        etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'  # as aiohttp makes it for a FileResponse
        answer = web.StreamResponse(headers={"Accept-Ranges": "bytes", "ETag": etag})
        answer.content_length = stat.st_size
        await answer.prepare(request)
        await answer.write(path.read_bytes()[: self.break_after])
        assert request.transport is not None
        request.transport.close()
        return answer


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    app = web.Application()
    app.router.add_get("/{name}", site.serve)
    async with TestServer(app) as server:
        site.server = server
        yield site


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "cluster" / "volumes" / "root" / "disk.qcow2"


async def test_a_qcow2_is_imported_grown_and_measured(kube: Kube, site: Site, tmp_path: Path, disk: Path) -> None:
    image = boot_disk(tmp_path, "hello", POWER_OFF).read_bytes()
    checksum = "sha256:" + hashlib.sha256(image).hexdigest()
    await kube.create(a_volume(site.put("base.qcow2", image), size="4Mi", checksum=checksum))
    volume = await until(kube, "DataVolume", finished)
    assert volume["status"]["phase"] == "Succeeded"
    assert volume["status"]["progress"] == "100.0%"
    assert volume["status"]["claimName"] == "root"
    assert (running(volume)["status"], running(volume)["reason"]) == ("False", "Completed")
    assert info(disk)["format"] == "qcow2"
    assert info(disk)["virtual-size"] == 4 * MIB
    claim = await kube.get("PersistentVolumeClaim", "root")
    assert claim["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "4Mi"}}
    assert claim["metadata"]["labels"]["goldenpipe.io/image"] == "tiny"
    assert claim["metadata"]["ownerReferences"][0]["uid"] == volume["metadata"]["uid"]
    allocated = int(claim["metadata"]["annotations"]["goldenpipe.io/allocated-bytes"])
    assert allocated == disk.stat().st_blocks * 512


async def test_an_import_goes_through_the_phases_of_cdi(kube: Kube, site: Site, tmp_path: Path) -> None:
    phases: list[str] = []

    async def watch() -> None:
        async for event in kube.watch("DataVolume"):
            if isinstance(event, Event):
                phase = (event.object.get("status") or {}).get("phase", "")
                if phases[-1:] != [phase]:
                    phases.append(phase)
                if phase == "Succeeded":
                    return

    watching = asyncio.create_task(watch())
    await kube.create(a_volume(site.put("a", boot_disk(tmp_path, "hello", POWER_OFF).read_bytes())))
    async with asyncio.timeout(10):
        await watching
    twice = ["ImportScheduled", "ImportInProgress"] * 2
    assert phases == ["", "Pending", *twice, "Succeeded"]


@pytest.mark.parametrize("packing", ["xz", "gz", "zst"])
async def test_a_packed_disk_is_unpacked_whatever_its_name(
    kube: Kube, site: Site, tmp_path: Path, disk: Path, packing: str
) -> None:
    data = os.urandom(100_000) + bytes(MIB - 100_000)
    (tmp_path / "plain").write_bytes(data)
    packed = {
        "xz": lambda: lzma.compress(data),
        "gz": lambda: gzip.compress(data),
        "zst": lambda: subprocess.run(["zstd", "-c", tmp_path / "plain"], capture_output=True, check=True).stdout,
    }[packing]()
    await kube.create(a_volume(site.put("image", packed)))
    assert (await until(kube, "DataVolume", finished))["status"]["phase"] == "Succeeded"
    assert content(disk, MIB) == data


async def test_a_file_of_this_machine_is_imported_without_a_web_server(kube: Kube, tmp_path: Path, disk: Path) -> None:
    source = boot_disk(tmp_path, "hello", POWER_OFF)
    before = source.read_bytes()
    await kube.create(a_volume(source.as_uri(), size="8Mi"))
    assert (await until(kube, "DataVolume", finished))["status"]["phase"] == "Succeeded"
    assert info(disk)["virtual-size"] == 8 * MIB
    assert source.read_bytes() == before


async def test_a_text_file_becomes_a_raw_disk_as_on_a_real_cluster(kube: Kube, site: Site, disk: Path) -> None:
    await kube.create(a_volume(site.put("page.html", b"<html>not an image</html>")))
    assert (await until(kube, "DataVolume", finished))["status"]["phase"] == "Succeeded"
    assert content(disk, 6) == b"<html>"


async def test_a_claim_has_the_labels_of_its_volume_but_says_that_cdi_manages_it(kube: Kube) -> None:
    volume = a_volume("unused")
    volume["spec"]["source"] = {"blank": {}}
    volume["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "goldenpipe", "team": "images"}
    await kube.create(volume)
    claim = await until(kube, "PersistentVolumeClaim", lambda _: True)
    labels = claim["metadata"]["labels"]
    assert (labels["team"], labels["app.kubernetes.io/managed-by"]) == ("images", "cdi-controller")


async def test_a_disk_of_the_waiting_class_is_filled_once_a_machine_uses_it(
    kube: Kube, tmp_path: Path, disk: Path
) -> None:
    volume = a_volume(boot_disk(tmp_path, "up", POWER_OFF).as_uri())
    volume["spec"]["storage"]["storageClassName"] = "goldenpipe-local-wait"
    await kube.create(volume)
    await until(kube, "DataVolume", lambda each: (each.get("status") or {}).get("phase") == "WaitForFirstConsumer")
    claim = await kube.get("PersistentVolumeClaim", "root")
    assert (claim.get("status") or {}).get("phase") != "Bound"
    assert not disk.exists()
    await kube.create(a_machine())
    await until(kube, "VirtualMachine", lambda each: bool(each.get("status")))
    await kube.act("VirtualMachine", "vm", "start")
    await until(kube, "DataVolume", finished)
    vmi = await until(kube, "VirtualMachineInstance", finished)
    assert vmi["status"]["phase"] == "Succeeded"


async def test_a_disk_of_the_waiting_class_does_not_wait_if_it_is_asked_not_to(kube: Kube, tmp_path: Path) -> None:
    volume = a_volume(boot_disk(tmp_path, "up", POWER_OFF).as_uri())
    volume["spec"]["storage"]["storageClassName"] = "goldenpipe-local-wait"
    volume["metadata"]["annotations"] = {"cdi.kubevirt.io/storage.bind.immediate.requested": ""}
    await kube.create(volume)
    assert (await until(kube, "DataVolume", finished))["status"]["phase"] == "Succeeded"


async def test_a_blank_disk_has_the_size_it_was_asked_for(kube: Kube, disk: Path) -> None:
    volume = a_volume("", size="3Mi")
    volume["spec"]["source"] = {"blank": {}}
    await kube.create(volume)
    assert (await until(kube, "DataVolume", finished))["status"]["phase"] == "Succeeded"
    assert info(disk)["virtual-size"] == 3 * MIB


async def test_a_clone_has_the_content_of_its_source(kube: Kube, tmp_path: Path, disk: Path) -> None:
    await kube.create(a_volume(boot_disk(tmp_path, "hello", POWER_OFF).as_uri()))
    clone = a_volume("", name="copy", size="2Mi")
    clone["spec"]["source"] = {"pvc": {"namespace": kube.namespace, "name": "root"}}
    await kube.create(clone)
    volume = await until(kube, "DataVolume", finished, name="copy")
    assert volume["status"]["phase"] == "Succeeded"
    copy = disk.parent.parent / "copy" / "disk.qcow2"
    assert content(copy, MIB) == content(disk, MIB)
    assert info(copy)["virtual-size"] == 2 * MIB


async def test_a_wrong_checksum_fails_the_import_for_good(kube: Kube, site: Site, disk: Path) -> None:
    await kube.create(a_volume(site.put("image", b"x" * 1000), checksum="sha256:" + "0" * 64))
    volume = await until(kube, "DataVolume", finished)
    assert volume["status"]["phase"] == "Failed"
    assert running(volume)["reason"] == "ChecksumError"
    assert "checksum mismatch: expected sha256:" + "0" * 64 in running(volume)["message"]
    assert not disk.exists()
    assert list(disk.parent.rglob("*")) == []


async def test_a_404_is_told_and_tried_again(kube: Kube, site: Site) -> None:
    await kube.create(a_volume(str(site.server.make_url("/nothing"))))
    volume = await until(kube, "DataVolume", in_trouble)
    words = "Unable to connect to http data source: expected status code 200, got 404. Status: 404 Not Found"
    assert running(volume)["message"] == words
    assert volume["status"]["phase"] == "ImportInProgress"
    await until(kube, "DataVolume", lambda volume: volume["status"].get("restartCount", 0) >= 1)


async def test_a_refused_connection_is_told_and_tried_again(kube: Kube, unused_tcp_port: int) -> None:
    await kube.create(a_volume(f"http://127.0.0.1:{unused_tcp_port}/x.qcow2"))
    volume = await until(kube, "DataVolume", in_trouble)
    assert running(volume)["message"].endswith("connect: connection refused")
    assert volume["status"]["phase"] == "ImportInProgress"


async def test_a_disk_larger_than_its_claim_is_refused_in_cdis_words(kube: Kube, tmp_path: Path) -> None:
    big = tmp_path / "big.qcow2"
    make_image(big, size="1G")
    await kube.create(a_volume(big.as_uri(), size="100Mi"))
    volume = await until(kube, "DataVolume", in_trouble)
    assert running(volume)["message"] == "DataVolume too small to contain image"


async def test_a_small_file_that_unpacks_to_a_huge_one_is_stopped(kube: Kube, site: Site, disk: Path) -> None:
    bomb = gzip.compress(bytes(80 * MIB), 1)
    await kube.create(a_volume(site.put("bomb", bomb), size="1Mi"))
    volume = await until(kube, "DataVolume", in_trouble)
    assert running(volume)["message"] == "DataVolume too small to contain image"
    assert list(disk.parent.rglob("*")) == []


async def test_a_qcow2_that_names_a_file_of_this_host_is_refused(kube: Kube, site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * MIB)
    evil = tmp_path / "evil.qcow2"
    make_image(evil, "-F", "raw", "-b", str(tmp_path / "secret"))
    await kube.create(a_volume(site.put("evil", evil.read_bytes()), size="2Mi"))
    volume = await until(kube, "DataVolume", in_trouble)
    assert "backing file" in running(volume)["message"]


async def test_a_qcow2_with_an_external_data_file_is_refused(kube: Kube, site: Site, tmp_path: Path) -> None:
    evil = tmp_path / "evil.qcow2"
    make_image(evil, "-o", f"data_file={tmp_path / 'data'},data_file_raw=on", size="1M")
    await kube.create(a_volume(site.put("evil", evil.read_bytes()), size="2Mi"))
    volume = await until(kube, "DataVolume", in_trouble)
    assert "external data file" in running(volume)["message"]


async def test_a_download_that_breaks_off_goes_on_where_it_was(kube: Kube, site: Site, disk: Path) -> None:
    data = os.urandom(3 * MIB)
    url = site.put("image", data)
    site.break_after = 2 * MIB
    await kube.create(a_volume(url, size="4Mi", checksum="sha256:" + hashlib.sha256(data).hexdigest()))
    assert (await until(kube, "DataVolume", finished))["status"]["phase"] == "Succeeded"
    assert content(disk, 3 * MIB) == data
    assert site.ranges[0] == ""
    assert int(site.ranges[1].removeprefix("bytes=").rstrip("-")) > MIB


async def test_a_full_disk_of_the_host_names_the_folder_and_what_is_missing(
    kube: Kube, site: Site, small_disk: Path
) -> None:
    await kube.create(a_volume(site.put("image", os.urandom(5 * MIB)), size="8Mi"))
    volume = await until(kube, "DataVolume", in_trouble)
    message = running(volume)["message"]
    assert "no space left on device" in message
    assert str(small_disk) in message
    assert "bytes more are needed" in message
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    await kube.delete("DataVolume", "root")
    await until_gone(kube, "PersistentVolumeClaim", "root")


async def test_deleting_a_volume_removes_its_claim_and_its_file(kube: Kube, tmp_path: Path, disk: Path) -> None:
    await kube.create(a_volume(boot_disk(tmp_path, "hello", POWER_OFF).as_uri()))
    await until(kube, "DataVolume", finished)
    await kube.delete("DataVolume", "root")
    await until_gone(kube, "PersistentVolumeClaim", "root")
    assert not disk.parent.exists()


async def test_deleting_a_volume_stops_its_download(kube: Kube, tmp_path: Path) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        asked.set()
        try:
            while True:
                await answer.write(b"x" * 1000)
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    app = web.Application()
    app.router.add_get("/slow", slow)
    async with TestServer(app) as server, asyncio.timeout(10):
        await kube.create(a_volume(str(server.make_url("/slow"))))
        await asked.wait()
        await kube.delete("DataVolume", "root")
        await gone.wait()
        await until_gone(kube, "PersistentVolumeClaim", "root")
    assert not (tmp_path / "cluster" / "volumes" / "root").exists()


async def test_progress_is_told_while_a_download_runs(kube: Kube) -> None:
    go_on = asyncio.Event()

    async def halves(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.content_length = 4 * MIB
        await answer.prepare(request)
        await answer.write(bytes(2 * MIB))
        await go_on.wait()
        await answer.write(bytes(2 * MIB))
        return answer

    app = web.Application()
    app.router.add_get("/image", halves)

    def told(volume: Object) -> bool:
        return bool((volume.get("status") or {}).get("progress", "N/A") != "N/A")

    async with TestServer(app) as server:
        await kube.create(a_volume(str(server.make_url("/image")), size="4Mi"))
        volume = await until(kube, "DataVolume", told)
        assert 0 < float(volume["status"]["progress"].rstrip("%")) <= 50
        assert running(volume)["status"] == "True"
        go_on.set()
        assert (await until(kube, "DataVolume", finished))["status"]["phase"] == "Succeeded"


async def test_a_source_this_node_does_not_have_is_told(kube: Kube) -> None:
    volume = a_volume("")
    volume["spec"]["source"] = {"registry": {"url": "docker://registry.lab/disk"}}
    await kube.create(volume)
    event = await until(kube, "Event", lambda event: event["reason"] == "ErrClaimNotValid")
    assert "registry" in event["message"]
