"""The mirror is the one that this machine's apt names, whatever else its sources name."""

from __future__ import annotations

from goldenpipe_local.base_image.mirror import (
    Source,
    deb822,
    debian_sources,
    find_sources,
    parse_paragraphs,
    passed_on_options,
)

TARGETS = """\
MetaKey: main/binary-amd64/Packages
Created-By: Packages
Repo-URI: http://mirror.example/debian/
Origin: Debian
Release: bookworm
Component: main

Created-By: Packages
Repo-URI: http://mirror.example/debian/
Origin: Debian
Release: bookworm
Component: contrib

Created-By: Packages
Repo-URI: http://mirror.example/debian-security/
Origin: Debian
Release: bookworm-security
Component: main

Created-By: Packages
Repo-URI: http://mirror.example/debian/
Origin: Debian
Release: bookworm-updates
Component: main

Created-By: Packages
Repo-URI: https://apt.vendor.example/
Origin: Vendor
Release: bookworm
Component: main
"""


def of(targets: str, guest: str = "bookworm") -> list[tuple[str, str]]:
    return [
        (source.uri, source.suite) for source in debian_sources(parse_paragraphs(targets), host="bookworm", guest=guest)
    ]


def test_a_vendor_with_a_suite_named_like_debians_is_no_mirror() -> None:
    assert of(TARGETS) == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://mirror.example/debian-security", "bookworm-security"),
    ]


def test_debian_13_comes_from_the_hosts_mirror_too() -> None:
    assert of(TARGETS, guest="trixie") == [
        ("http://mirror.example/debian", "trixie"),
        ("http://mirror.example/debian", "trixie-updates"),
        ("http://mirror.example/debian-security", "trixie-security"),
    ]


def test_a_mirror_is_found_before_apt_has_ever_updated() -> None:
    fresh = "\n".join(line for line in TARGETS.splitlines() if not line.startswith("Origin"))
    assert of(fresh) == of(TARGETS)


def test_a_vendor_is_told_by_its_key_before_apt_has_ever_updated() -> None:
    vendor = "Repo-URI: https://apt.vendor.example/debian\nRelease: bookworm\nComponent: main\n"
    assert of(vendor + "Signed-By: /etc/apt/keyrings/vendor.gpg\n") == []
    assert of(vendor + "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n") != []


def test_sources_that_say_stable_are_understood() -> None:
    assert of("Repo-URI: http://m.example/debian\nRelease: stable-security\nComponent: main\n") == [
        ("http://m.example/debian", "bookworm-security")
    ]


def test_another_release_on_the_host_is_not_taken_for_its_own() -> None:
    assert of("Repo-URI: http://m.example/debian\nRelease: bookworm-backports\nComponent: main\n") == []
    assert of("Repo-URI: http://m.example/debian\nRelease: sid\nComponent: main\n") == []


def test_a_disk_of_packages_on_the_host_is_no_mirror_for_a_guest() -> None:
    assert of("Repo-URI: cdrom://Debian/\nOrigin: Debian\nRelease: bookworm\nComponent: main\n") == []


def test_the_guests_sources_are_what_apt_reads_back() -> None:
    (paragraph,) = parse_paragraphs(deb822([Source(uri="http://mirror.example/debian", suite="bookworm")]))
    assert paragraph["URIs"] == "http://mirror.example/debian"
    assert paragraph["Suites"] == "bookworm"
    assert paragraph["Signed-By"].endswith("/debian-archive-keyring.gpg")


def test_the_hosts_proxy_is_used_to_reach_the_mirror() -> None:
    config = (
        'APT::Architecture "amd64";\nAcquire::http::Proxy "http://proxy.example:3128/";\n'
        'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n'
    )
    assert passed_on_options(config) == (
        'Acquire::http::Proxy "http://proxy.example:3128/";',
        'Acquire::Check-Valid-Until "false";',
    )


async def test_this_machines_own_sources_are_understood() -> None:
    sources = await find_sources("bookworm")
    assert sources[0].suite == "bookworm"
    assert sources[0].uri.startswith("http")
