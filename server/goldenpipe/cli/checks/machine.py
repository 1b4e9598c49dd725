"""Checks of this one machine, for the local cluster."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from goldenpipe.cli.checks.finding import Finding, fail, ok, warn

_GI = 1 << 30
NEEDED_DISK, GOOD_DISK = 3 * _GI, 10 * _GI
"""A build holds the base disk, the image being made and a copy while it is compressed."""
NEEDED_MEMORY, GOOD_MEMORY = 1 * _GI, 3 * _GI
_INSTALL = "make setup installs it, or: apt-get install"


def check_python() -> list[Finding]:
    """For the record: without 3.11 or newer this program would not have started."""
    return [ok("Python", ".".join(map(str, sys.version_info[:3])))]


def check_programs() -> list[Finding]:
    return [
        _program("QEMU", "qemu-system-x86_64", "qemu-system-x86", fail, "no VM can run"),
        _program("qemu-img", "qemu-img", "qemu-utils", fail, "no disk can be made"),
        _program("xz", "xz", "xz-utils", warn, "disk images packed as .xz cannot be used"),
        _program("zstd", "zstd", "zstd", warn, "disk images packed as .zst cannot be used"),
        _program("xorriso", "xorriso", "xorriso", warn, "installer ISOs that have to be prepared cannot be used"),
    ]


def check_uefi() -> list[Finding]:
    folder = Path("/usr/share/OVMF")
    if any(folder.glob("OVMF_CODE*.fd")):
        return [ok("UEFI firmware", str(folder))]
    return [warn("UEFI firmware", "guests that boot by UEFI cannot run", f"{_INSTALL} ovmf")]


def check_base_image() -> list[Finding]:
    """What `goldenpipe base-image` and `make demo` need."""
    from goldenpipe_local.base_image import missing_tools

    missing = missing_tools()
    if not missing:
        return [ok("base-image", "mmdebstrap and the other tools are there")]
    names = ", ".join(sorted(map(str, missing)))
    return [warn("base-image", f"cannot make base disks without {names}", "make setup installs them")]


def check_memory() -> list[Finding]:
    free = _available_memory()
    if free >= GOOD_MEMORY:
        return [ok("memory", f"{_gib(free)} available")]
    remedy = 'Ask for small VMs ("memory": "1Gi"), or stop other programs.'
    build = fail if free < NEEDED_MEMORY else warn
    return [build("memory", f"only {_gib(free)} available, and each build VM takes what its request says", remedy)]


def check_disk(data_dir: Path) -> list[Finding]:
    place = next(each for each in (data_dir, *data_dir.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        return [fail("data folder", f"{place} is not writable", "Choose another one with --data-dir.")]
    if free >= GOOD_DISK:
        return [ok("data folder", f"{data_dir}, {_gib(free)} free")]
    build = fail if free < NEEDED_DISK else warn
    return [
        build("data folder", f"{data_dir} has only {_gib(free)} free", "Make room, or choose another with --data-dir.")
    ]


def check_port(host: str, port: int) -> list[Finding]:
    subject = f"port {port}"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return [_port_taken(subject, host, port, error)]
    return [ok(subject, f"free on {host}")]


def check_mirror() -> list[Finding]:
    """The mirror that this machine's own apt is set to; base disks are made from it."""
    from goldenpipe_local.base_image import BaseImageError, find_sources

    try:
        source = asyncio.run(find_sources("bookworm"))[0]
    except (BaseImageError, OSError) as error:
        return [warn("Debian mirror", str(error), "Only base-image needs one; other base disks work without.")]
    release = f"{source.uri}/dists/{source.suite}/Release"
    try:
        with urllib.request.urlopen(urllib.request.Request(release, method="HEAD"), timeout=10):
            return [ok("Debian mirror", f"{source.uri} answers")]
    except OSError as error:
        words = getattr(error, "reason", error)
        remedy = "Set http_proxy if this network needs one; base-image and apt in Debian guests need a mirror."
        return [warn("Debian mirror", f"{release} cannot be read: {words}", remedy)]


def _program(
    subject: str, program: str, package: str, missing: Callable[[str, str, str], Finding], without: str
) -> Finding:
    path = shutil.which(program)
    if path is None:
        return missing(subject, f"{program} is not there: {without}", f"{_INSTALL} {package}")
    return ok(subject, _version(path) or path)


def _version(path: str) -> str:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    number = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    return number.group() if number else ""


def _available_memory() -> int:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _port_taken(subject: str, host: str, port: int, error: OSError) -> Finding:
    from goldenpipe.cli.client import Client, Limits
    from goldenpipe.cli.errors import CliError

    try:
        Client(f"http://{host}:{port}", Limits(answer=3.0)).health()
    except CliError:
        words = (error.strerror or str(error)).lower()
        return warn(subject, f"{host}:{port} cannot be used: {words}", "Serve elsewhere: --listen 127.0.0.1:8081")
    return ok(subject, f"a GoldenPipe service answers on {host}:{port} already")


def _gib(number: int) -> str:
    return f"{number / _GI:.1f} GiB"
