"""What a request for Windows may ask for, and how it is told no."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from goldenpipe.model.request import ImageRequest, RequestContext, parse_request

SCRIPTS = ["install-docker.ps1", "configure-k8s.ps1", "install-docker.sh"]
CHECKSUM = "0123456789abcdef" * 4
REFERENCE: dict[str, Any] = {
    "name": "windows-2022-golden",
    "os_type": "windows",
    "base_iso_url": "https://software-download.microsoft.com/download/sg/Win11_22H2_English_x64v1.iso",
    "storage_size": "50Gi",
    "cpu": 4,
    "memory": "8Gi",
    "customizations": {"scripts": ["install-docker.ps1", "configure-k8s.ps1"]},
}


def context() -> RequestContext:
    return RequestContext(scripts=SCRIPTS, file_urls=False)


def parse(**changes: Any) -> tuple[ImageRequest, dict[str, str]]:
    here = context()
    request = parse_request({**REFERENCE, "accept_eula": True, **changes}, here)
    assert isinstance(request, ImageRequest), request
    return request, here.secrets


def faults(document: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
    found = parse_request({**(document or {**REFERENCE, "accept_eula": True}), **changes}, context())
    assert isinstance(found, list), "the request was accepted"
    assert len({fault.path for fault in found}) == len(found), "a fault is told twice"
    return {fault.path: fault.message for fault in found}


def test_the_references_windows_example_is_refused_for_its_license_alone() -> None:
    found = faults(REFERENCE)
    assert list(found) == ["accept_eula"]
    assert "licence terms" in found["accept_eula"]
    assert list(faults(accept_eula=False)) == ["accept_eula"]
    assert list(faults(accept_eula="yes")) == ["accept_eula"]


def test_the_references_windows_example_with_its_license_accepted_is_accepted_and_recorded() -> None:
    request, secrets = parse()
    assert request.model_dump()["accept_eula"] is True
    assert secrets == {}


def test_passwords_and_product_key_are_nowhere_in_what_is_stored() -> None:
    key = "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"
    users = [{"name": "Ada.L", "password": "Pa$$w0rd"}, {"name": "bob"}]
    request, secrets = parse(windows={"product_key": key}, customizations={"users": users})
    stored = json.dumps(request.model_dump()) + request.model_dump_json() + repr(request)
    assert "Pa$$w0rd" not in stored
    assert key not in stored
    assert secrets == {"password-Ada.L": "Pa$$w0rd", "product-key": key}
    assert request.customizations.users[0].password_hash == "password-Ada.L"
    assert request.customizations.users[1].password_hash is None
    assert request.windows.product_key == "product-key"


def test_secrets_of_a_wrong_request_are_not_repeated() -> None:
    found = faults(
        windows={"product_key": "hunter2"}, customizations={"users": [{"name": "a", "password": "hunter3\n"}]}
    )
    assert set(found) == {"windows.product_key", "customizations.users[0].password"}
    assert "hunter" not in str(found)


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        REFERENCE,
        storage_size="16Gi",
        memory="1Gi",
        windows={"locale": "english", "edition": "", "colour": "red"},
        customizations={
            "packages": [
                "git",
                "https://h/a.msi",
                "https://h/a.zip#sha256=" + CHECKSUM,
                f"https://h/a.exe#sha256={CHECKSUM}",
            ],
            "scripts": ["install-docker.sh", "#!/bin/sh\ntrue\n", "none.ps1"],
            "files": {
                "/etc/motd": "",
                r"C:\x\..\b": "",
                r"C:\nul.txt": "",
                r"C:\a": "",
                r"c:\A": "",
                r"C:\d": "",
                r"C:\D\e": "",
            },
            "users": [{"name": "ada", "sudo": True}, {"name": "Administrator"}, {"name": "ADA"}, {"name": "a b"}],
        },
    )
    assert set(found) == {
        "accept_eula",
        "storage_size",
        "memory",
        "windows.locale",
        "windows.edition",
        "windows.colour",
        "customizations.packages[1]",
        "customizations.packages[2]",
        "customizations.packages[3]",
        "customizations.scripts[0]",
        "customizations.scripts[1]",
        "customizations.scripts[2]",
        'customizations.files["/etc/motd"]',
        r'customizations.files["C:\x\..\b"]',
        r'customizations.files["C:\nul.txt"]',
        r'customizations.files["c:\A"]',
        r'customizations.files["C:\d"]',
        "customizations.users[0].sudo",
        "customizations.users[1].name",
        "customizations.users[2].name",
        "customizations.users[3].name",
    }


def test_windows_words_in_a_linux_request_are_refused() -> None:
    document = {"name": "a", "os_type": "linux", "base_iso_url": "https://h/a.qcow2"}
    found = faults(
        document,
        accept_eula=True,
        windows={"updates": True},
        customizations={
            "scripts": ["install-docker.ps1", "#ps1\nexit\n"],
            "files": {r"C:\a": ""},
            "users": [{"name": "Ada"}],
        },
    )
    assert set(found) == {
        "accept_eula",
        "windows",
        "customizations.scripts[0]",
        "customizations.scripts[1]",
        r'customizations.files["C:\a"]',
        "customizations.users[0].name",
    }


def test_what_windows_knows_is_accepted() -> None:
    request, _ = parse(
        windows={
            "edition": "Windows Server 2022 SERVERSTANDARD",
            "locale": "de-DE",
            "timezone": "W. Europe Standard Time",
        },
        customizations={
            "packages": [
                "git",
                f"https://h/a%20b.msi?x=1#sha256={CHECKSUM}",
                f"https://h/a.exe#sha256={CHECKSUM}&args=/S",
            ],
            "scripts": ["install-docker.ps1", "#ps1\nGet-Date\n"],
            "files": {r"C:\ProgramData\team notes\read me.txt": "x"},
            "users": [{"name": "Ada_L", "groups": ["Administrators", "Remote Desktop Users"]}],
        },
    )
    assert request.windows.timezone == "W. Europe Standard Time"


def test_a_disk_is_large_enough_for_windows_by_itself() -> None:
    document = {key: value for key, value in REFERENCE.items() if key != "storage_size"}
    request = parse_request({**document, "accept_eula": True}, context())
    assert isinstance(request, ImageRequest)
    assert request.size_bytes == 64 * 2**30


def test_no_accepted_path_can_leave_its_place() -> None:
    chance = random.Random(20260115)
    for _ in range(3000):
        path = "C:\\" + "".join(chance.choices("ab.\\/ :*\x00\x1fcon", k=chance.randrange(1, 12)))
        found = parse_request({**REFERENCE, "accept_eula": True, "customizations": {"files": {path: ""}}}, context())
        if isinstance(found, ImageRequest):
            parts = path.split("\\")[1:]
            assert all(part and part[0] != " " and part[-1] not in " ." for part in parts), path
            assert not any(part in (".", "..") or part.lower() == "con" for part in parts), path
            assert not set(path[2:]) & set(":*/\x00\x1f"), path


@pytest.mark.parametrize(
    "url", ["ftp://h/a.msi", "https:///a.msi", "https://me:pw@h/a.msi", f"https://h/a.msi#sha256={CHECKSUM}&x=1"]
)
def test_an_installer_that_cannot_be_fetched_safely_is_refused(url: str) -> None:
    wanted = url if "#" in url else f"{url}#sha256={CHECKSUM}"
    assert list(faults(customizations={"packages": [wanted]})) == ["customizations.packages[0]"]


def test_both_library_scripts_of_the_reference_exist() -> None:
    folder = Path(__file__).parents[3] / "templates/scripts"
    assert {name for name in SCRIPTS if (folder / name).is_file()} == set(SCRIPTS)
