"""What a base image is, by its first bytes and by its name."""

from __future__ import annotations

import pytest

from goldenpipe.model.base_image import base_by_content, base_by_name
from goldenpipe.planning.context import request_context


def test_a_request_stored_before_base_images_were_looked_at_goes_by_the_name() -> None:
    stored = {"base_iso_url": "https://h/a.iso", "storage_size": "1Gi"}
    assert request_context(stored)["base_kind"] == "iso"
    assert request_context({**stored, "base_kind": "disk", "base_bytes": 7})["base_kind"] == "disk"


def iso(label: str) -> bytes:
    return b"\0" * 32768 + b"\x01CD001\x01\0" + b" " * 32 + label.encode().ljust(32) + b"\0" * 2000


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/debian-12-generic-amd64.qcow2", "disk"),
        ("/noble-server-cloudimg-amd64.img", "disk"),
        ("/a.ISO", "iso"),
        ("/folder.iso/disk.raw.xz", "disk"),
        ("/my%2Eiso", "iso"),
        ("", "disk"),
    ],
)
def test_the_name_decides_where_nothing_else_can(path: str, kind: str) -> None:
    assert base_by_name(path).kind == kind


def test_the_content_decides_against_the_name() -> None:
    assert base_by_content(iso("Debian 12"), 5, "/latest").kind == "iso"
    assert base_by_content(b"QFI\xfb".ljust(65536, b"\0"), 5, "/disk.iso").kind == "disk"


def test_a_head_that_is_too_short_leaves_it_to_the_name() -> None:
    assert base_by_content(b"QFI\xfb", 4, "/a.iso").kind == "iso"


@pytest.mark.parametrize(
    "path",
    [
        "/22.04/ubuntu-22.04.3-desktop-amd64.iso",
        "/ubuntu-20.04.6-desktop-amd64.iso",
        "/xubuntu-22.04.4-desktop-amd64.iso",
    ],
)
def test_a_desktop_that_cannot_be_installed_unattended_is_told_by_its_name(path: str) -> None:
    fault = base_by_name(path).fault
    assert "live-server" in fault
    assert "cloud-images.ubuntu.com" in fault


@pytest.mark.parametrize(
    "path",
    [
        "/ubuntu-22.04.3-live-server-amd64.iso",
        "/ubuntu-23.04-desktop-amd64.iso",
        "/ubuntu-24.04.1-desktop-amd64.iso",
        "/ubuntu-22.04.3-desktop-amd64.qcow2",
    ],
)
def test_what_can_be_installed_is_not_refused_by_its_name(path: str) -> None:
    assert base_by_name(path).fault == ""


@pytest.mark.parametrize(
    ("label", "refused"),
    [
        ("Ubuntu 22.04.3 LTS amd64", True),
        ("Ubuntu 24.04.1 LTS amd64", False),
        ("Ubuntu-Server 22.04.3 LTS amd64", False),
        ("Xubuntu 22.04 LTS amd64", True),
        ("Debian 12.5.0 amd64 n", False),
    ],
)
def test_its_own_label_tells_a_desktop_under_any_name(label: str, refused: bool) -> None:
    assert bool(base_by_content(iso(label), 1, "/latest.iso").fault) == refused
    assert base_by_content(iso(label), 77, "/latest.iso").size == 77
