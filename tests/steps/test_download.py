"""The base image: looked at before it is downloaded, then followed until it is on the disk."""

from __future__ import annotations

import asyncio
import gzip
import lzma
import shutil
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from support.steps.clusters import DISK, Cluster, condition
from support.steps.running import Run, Runner
from support.steps.site import PAGE, Server, serving

GI = 2**30


def qcow2(virtual_size: int = 2 * GI, backing: int = 0, version: int = 3) -> bytes:
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 0, 16, virtual_size)
    return head.ljust(1024, b"\0")


RAW = (b"\0" * 510 + b"\x55\xaa").ljust(4096, b"\0")
GPT = (b"\0" * 512 + b"EFI PART").ljust(4096, b"\0")
ISO = (b"\0" * 510 + b"\x55\xaa").ljust(32769, b"\0") + b"CD001" + b"\0" * 2048


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as one:
        yield one


async def output_of(*command: str, given: bytes = b"") -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await process.communicate(given)
    assert process.returncode == 0, err.decode()
    return out


Download = Callable[..., Coroutine[Any, Any, Run]]


@pytest.fixture
def download(cluster: Cluster, steps: Runner) -> Download:
    async def start_step(url: str, *, size_bytes: int = 20 * GI, **params: Any) -> Run:
        document = cluster.document(
            url=url, checksum=None, size_bytes=size_bytes, storage_size=f"{size_bytes // GI}Gi", **params
        )
        return await steps.start("download_iso", document, **cluster.environ)

    return start_step


@pytest.mark.parametrize(
    ("body", "form", "virtual_size"),
    [
        (qcow2(3 * GI), "qcow2", 3 * GI),
        (RAW, "raw", 4096),
        (GPT, "raw", 4096),
        (lzma.compress(qcow2(5 * GI)), "qcow2+xz", 5 * GI),
        (gzip.compress(RAW), "raw+gz", None),
    ],
    ids=["qcow2", "raw", "gpt", "xz", "gz"],
)
async def test_disk_images_of_every_kind_are_recognized(
    server: Server, cluster: Cluster, download: Download, body: bytes, form: str, virtual_size: int | None
) -> None:
    server.files["/disk.img"] = body
    await cluster.make_disk("Succeeded")
    step = await download(f"{server.url}/moved/disk.img")
    assert await step.ended() == 0, step.log
    assert step.facts == {"format": form, "virtual_size_bytes": virtual_size, "source_bytes": len(body)}
    assert server.asked == [("/moved/disk.img", "bytes=0-65535"), ("/disk.img", "bytes=0-65535")]


async def test_zstd_images_are_looked_into_where_zstd_is_there(
    server: Server, cluster: Cluster, download: Download
) -> None:
    if not shutil.which("zstd"):
        pytest.skip("needs zstd")
    content = qcow2(4 * GI) + bytes(range(256)) * 999
    server.files["/disk.zst"] = await output_of("zstd", "-c", given=content)
    await cluster.make_disk("Succeeded")
    step = await download(f"{server.url}/disk.zst")
    assert await step.ended() == 0, step.log
    assert step.facts["format"] == "qcow2+zst"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (ISO, "is an installer ISO, not a disk image"),
        (PAGE, "is not a disk image: the server sent a web page"),
        (b"hello\n" * 999, "is not a disk image: it is neither qcow2 nor raw"),
        (b"", "is not a disk image: it is neither qcow2 nor raw but a file of 0 bytes"),
        (qcow2(21 * GI), "the disk of 21 GiB in disk.img is larger than storage_size 20Gi"),
        (qcow2(backing=512), "needs a backing file"),
        (qcow2(version=1), "a qcow file of version 1"),
        (b"KDMV".ljust(4096, b"\0"), "is not a disk image: it is a VMware disk (vmdk)"),
        (gzip.compress(b"PK\x03\x04".ljust(999, b"\0")), "gz-compressed, and inside is a zip archive"),
    ],
    ids=["iso", "page", "text", "empty", "large", "backing", "version", "vmdk", "zip"],
)
async def test_what_is_no_usable_disk_image_is_refused_in_words(
    server: Server, download: Download, body: bytes, words: str
) -> None:
    server.files["/disk.img"] = body
    step = await download(f"{server.url}/disk.img")
    assert await step.ended(10) == 20
    assert words in step.message


@pytest.mark.parametrize(("status", "code"), [(404, 20), (403, 20), (503, 10)])
async def test_a_server_that_refuses_is_told_by_its_status(
    server: Server, download: Download, status: int, code: int
) -> None:
    server.statuses["/disk.img"] = [status] * 9
    step = await download(f"{server.url}/disk.img?token=secret", retry_seconds=1)
    assert await step.ended(30) == code
    assert f"{server.url}/disk.img?… answers {status}" in step.message
    assert "secret" not in step.log


async def test_a_moments_trouble_of_the_server_does_not_end_the_step(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    server.statuses["/disk.img"] = [503]
    await cluster.make_disk("Succeeded")
    step = await download(f"{server.url}/disk.img")
    assert await step.ended() == 0, step.log
    assert "trying again" in step.log


async def test_an_unreachable_server_fails_within_half_a_minute(download: Download) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    step = await download(f"http://127.0.0.1:{port}/disk.img")
    assert await step.ended(30) == 10
    assert f"http://127.0.0.1:{port}/disk.img is unreachable: Connect" in step.message


async def test_a_name_that_does_not_resolve_is_named(download: Download) -> None:
    step = await download("http://no-such-host.invalid/disk.img", retry_seconds=1)
    assert await step.ended(40) == 10
    assert "the name no-such-host.invalid cannot be resolved" in step.message


async def test_a_certificate_nobody_knows_is_permanent(tmp_path: Path, download: Download) -> None:
    places = ("-out", f"{tmp_path}/c", "-keyout", f"{tmp_path}/k")
    await output_of("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", *places)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "c", tmp_path / "k")
    async with serving(tls) as server:
        step = await download(f"{server.url}/disk.img")
        assert await step.ended(10) == 20
    assert "TLS certificate is not valid" in step.message


async def test_local_files_are_read_directly(tmp_path: Path, cluster: Cluster, download: Download) -> None:
    (tmp_path / "my disk.qcow2").write_bytes(qcow2())
    await cluster.make_disk("Succeeded")
    step = await download(f"file://{tmp_path}/my%20disk.qcow2")
    assert await step.ended() == 0, step.log
    missing = await download(f"file://{tmp_path}/other")
    assert await missing.ended() == 20
    assert missing.message == f"there is no file {tmp_path}/other"


async def test_the_download_is_followed_and_never_goes_back(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    step = await download(f"{server.url}/disk.img")
    await step.line("It is raw")
    await cluster.make_disk("Pending")
    for progress in ("N/A", "40.00%", "12.00%", "80.50%"):
        await cluster.set_status("DataVolume", DISK, phase="ImportInProgress", progress=progress)
    await step.line("(80%)")
    await cluster.set_status("DataVolume", DISK, phase="Succeeded", progress="100.0%")
    assert await step.ended() == 0, step.log
    percents = [int(line[1:4]) for line in step.lines if line.startswith("[")]
    assert percents == sorted(percents)


def failing(reason: str, message: str) -> dict[str, Any]:
    return {"conditions": [condition("Running", "False", reason, message)]}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {
                "phase": "Failed",
                **failing(
                    "ChecksumError",
                    "Unable to process data: checksum validation failed: checksum mismatch: "
                    "expected sha256:00ff, calculated sha256:35d2",
                ),
            },
            "the checksum of {url} is wrong: expected sha256:00ff, got sha256:35d2",
        ),
        (
            {"phase": "ImportInProgress", **failing("Error", "DataVolume too small to contain image")},
            "is larger than storage_size 20Gi",
        ),
        (
            {
                "phase": "ImportInProgress",
                **failing(
                    "Error",
                    "Unable to connect to http data source: expected status code 200, got 404. Status: 404 Not Found",
                ),
            },
            "{url} answers 404",
        ),
        (
            {"phase": "ImportInProgress", "restartCount": 3, **failing("Error", "connect: connection refused")},
            "the download failed 3 times: connect: connection refused",
        ),
        (
            {"phase": "ImportInProgress", **failing("Error", "write: No space left on device")},
            "the host's disk is full",
        ),
    ],
)
async def test_a_failing_download_says_what_and_why(
    server: Server, cluster: Cluster, download: Download, status: dict[str, Any], words: str
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Pending")
    step = await download(f"{server.url}/disk.img")
    await step.line("It is raw")
    await cluster.set_status("DataVolume", DISK, **status)
    assert await step.ended(10) == 20
    assert words.format(url=f"{server.url}/disk.img") in step.message
    assert step.extra["hint"]


async def test_a_disk_deleted_meanwhile_fails_the_step(server: Server, cluster: Cluster, download: Download) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Pending")
    step = await download(f"{server.url}/disk.img")
    await step.line("It is raw")
    await step.line("Preparing")
    await cluster.kube.delete("DataVolume", DISK)
    assert await step.ended(10) == 20
    assert f"DataVolume {DISK} was deleted" in step.message
