"""The base image: looked at before it is downloaded, then followed until it is on the disk."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import lzma
import os
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
            url=url, size_bytes=size_bytes, storage_size=f"{size_bytes // GI}Gi", **{"checksum": None, **params}
        )
        return await steps.start("download_iso", document, **cluster.environ("download_iso"))

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


LONG_AGO = "Mon, 01 Jan 2024 00:00:00 GMT"
LATER = "Tue, 02 Jan 2024 00:00:00 GMT"


def sha256(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


async def test_a_retry_of_the_download_never_shows_less_than_was_shown_before(
    server: Server, cluster: Cluster, download: Download
) -> None:
    """As CDI 1.66 was seen to do when an image was too small for its disk."""
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Pending")
    step = await download(f"{server.url}/disk.img")
    await step.line("It is raw")
    running = {"phase": "ImportInProgress", "conditions": [condition("Running", "True", "Pod is running")]}
    await cluster.set_status("DataVolume", DISK, progress="92.86%", **running)
    await step.line("(93%)")
    await cluster.set_status("DataVolume", DISK, progress="14.34%", restartCount=1, **running)
    line = await step.line("again (restart 1)")
    assert "%)" not in line
    await cluster.set_status("DataVolume", DISK, progress="97.00%", restartCount=1, **running)
    await step.line("again (restart 1) (97%)")
    await cluster.set_status("DataVolume", DISK, phase="Succeeded", progress="100.0%")
    assert await step.ended() == 0, step.log
    percents = [int(line[1:4]) for line in step.lines if line.startswith("[")]
    assert percents == sorted(percents)


async def test_an_importer_without_memory_is_told_as_that(server: Server, cluster: Cluster, download: Download) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Pending")
    step = await download(f"{server.url}/disk.img")
    await step.line("It is raw")
    for restarts in range(4):
        status = {"phase": "ImportInProgress", "restartCount": restarts, **failing("OOMKilled", "")}
        await cluster.set_status("DataVolume", DISK, **status)
    assert await step.ended(10) == 20
    assert step.message == "CDI's importer was killed 3 times for lack of memory (OOMKilled)"
    assert "podResourceRequirements" in step.extra["hint"]


async def test_an_import_that_never_ends_is_ended_with_what_is_known_of_it(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Pending")
    step = await download(f"{server.url}/disk.img", import_timeout_seconds=1.5)
    await step.line("It is raw")
    error = failing("Error", "unexpected EOF")
    await cluster.set_status("DataVolume", DISK, phase="ImportInProgress", progress="40.00%", restartCount=1, **error)
    await step.line("(40%)")
    running = [condition("Running", "True", "Pod is running")]
    await cluster.set_status("DataVolume", DISK, progress="12.00%", restartCount=2, conditions=running)
    assert await step.ended(10) == 20
    assert step.message == (
        f"the download of {server.url}/disk.img did not end within 1.5 s: "
        "it came to 40%, restarted 2 times, last error: unexpected EOF"
    )
    assert "import_timeout_seconds" in step.extra["hint"]


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("no accessMode specified in StorageProfile slow", "Is there such a storage class"),
        ('exceeded quota: storage, requested: requests.storage=20Gi, used: 90Gi, limited: 100Gi"', "quota"),
    ],
)
async def test_a_disk_that_gets_no_volume_is_not_waited_for_for_ever(
    server: Server, cluster: Cluster, download: Download, message: str, hint: str
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Pending")
    conditions = [condition("Bound", "False", "ErrClaimNotValid", message)]
    await cluster.set_status("DataVolume", DISK, conditions=conditions)
    step = await download(f"{server.url}/disk.img", pending_timeout_seconds=1)
    assert await step.ended(10) == 20
    assert step.message == f"the import into {DISK} did not begin within 1.0 s: Pending: {message}"
    assert hint in step.extra["hint"]


async def test_what_the_importer_waits_for_is_not_hidden_by_what_its_claim_waits_for(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Pending")
    bound = condition("Bound", "False", "Pending", "PVC root Pending")
    running = condition("Running", "False", "ErrExceededQuota", "exceeded quota: storage")
    await cluster.set_status("DataVolume", DISK, conditions=[bound, running])
    step = await download(f"{server.url}/disk.img", pending_timeout_seconds=1)
    assert await step.ended(10) == 20
    assert step.message.endswith("Pending: PVC root Pending; exceeded quota: storage")
    assert "quota" in step.extra["hint"]


@pytest.mark.parametrize("phase", ["WaitForFirstConsumer", "PendingPopulation"])
async def test_a_disk_that_waits_for_its_vm_does_not_hold_up_the_step_before_the_vm(
    server: Server, cluster: Cluster, download: Download, phase: str
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk(phase, immediate=False)
    step = await download(f"{server.url}/disk.img")
    assert await step.ended(10) == 0, step.log
    assert step.message == "The download begins when the VM starts"


async def test_a_disk_that_was_to_be_bound_at_once_is_no_success_while_it_waits_for_a_vm(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("PendingPopulation")
    step = await download(f"{server.url}/disk.img", pending_timeout_seconds=1)
    assert await step.ended(10) == 20
    assert "PendingPopulation: the volume is bound once a VM uses it" in step.message


async def test_a_checksum_that_cdi_does_not_know_is_checked_by_the_step(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    server.headers["Last-Modified"] = LONG_AGO
    await cluster.make_disk("Succeeded", url=f"{server.url}/disk.img")
    step = await download(f"{server.url}/disk.img", checksum=sha256(RAW))
    assert await step.ended() == 0, step.log
    assert "by a second download of 4 KiB" in step.log
    assert f"The checksum is right: {sha256(RAW)}" in step.lines
    assert ("/disk.img", "") in server.asked


async def test_a_checksum_that_cdi_knows_costs_no_second_download(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("Succeeded", url=f"{server.url}/disk.img", checksum=sha256(RAW))
    step = await download(f"{server.url}/disk.img", checksum=sha256(RAW))
    assert await step.ended() == 0, step.log
    assert server.asked == [("/disk.img", "bytes=0-65535")]


async def test_a_wrong_checksum_fails_the_step_although_the_import_goes_on(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    await cluster.make_disk("ImportInProgress", url=f"{server.url}/disk.img")
    step = await download(f"{server.url}/disk.img", checksum=sha256(b"another"))
    assert await step.ended(10) == 20
    words = f"expected {sha256(b'another')}, got {sha256(RAW)}"
    assert step.message == f"the checksum of {server.url}/disk.img is wrong: {words}"


async def test_an_image_that_changes_between_check_and_import_is_refused(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    server.headers["Last-Modified"] = LONG_AGO
    await cluster.make_disk("ImportInProgress", url=f"{server.url}/disk.img")
    step = await download(f"{server.url}/disk.img", checksum=sha256(RAW))
    await step.line("The checksum is right")
    server.headers["Last-Modified"] = LATER
    await cluster.set_status("DataVolume", DISK, phase="Succeeded")
    assert await step.ended(10) == 20
    assert "changed while it was downloaded" in step.message


async def test_an_image_newer_than_its_disk_is_not_checked_in_the_place_of_the_one_on_it(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    server.headers["Last-Modified"] = "Sun, 01 Jan 2090 00:00:00 GMT"
    await cluster.make_disk("Succeeded", url=f"{server.url}/disk.img")
    step = await download(f"{server.url}/disk.img", checksum=sha256(RAW))
    assert await step.ended(10) == 20
    assert "newer than the disk" in step.message


async def test_a_local_file_is_checked_too(tmp_path: Path, cluster: Cluster, download: Download) -> None:
    (tmp_path / "disk.img").write_bytes(RAW)
    os.utime(tmp_path / "disk.img", (0, 0))
    await cluster.make_disk("Succeeded", url=f"file://{tmp_path}/disk.img")
    step = await download(f"file://{tmp_path}/disk.img", checksum=f"sha512:{hashlib.sha512(RAW).hexdigest()}")
    assert await step.ended() == 0, step.log
    assert "The checksum is right" in step.log


async def test_what_was_checked_is_told_to_the_step_that_follows_the_import(
    server: Server, cluster: Cluster, download: Download
) -> None:
    server.files["/disk.img"] = RAW
    server.headers["Last-Modified"] = LONG_AGO
    await cluster.make_disk("PendingPopulation", immediate=False, url=f"{server.url}/disk.img")
    step = await download(f"{server.url}/disk.img", checksum=sha256(RAW))
    assert await step.ended() == 0, step.log
    assert step.facts["checked_version"] == f"{LONG_AGO} 4096"
