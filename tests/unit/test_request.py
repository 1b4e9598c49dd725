"""What the API accepts and how it says no."""

from __future__ import annotations

import asyncssh
import pytest
from passlib.hash import sha512_crypt

from goldenpipe.errors import Fault
from goldenpipe.model.request import ImageRequest, RequestContext, parse_request

CONTEXT = RequestContext(scripts=["install-docker.sh"], file_urls=False)
KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


def document(**changes: object) -> dict[str, object]:
    return {
        "name": "ubuntu-22.04-golden",
        "os_type": "linux",
        "base_iso_url": "https://images.example/base.qcow2",
        **changes,
    }


def parse(**changes: object) -> ImageRequest:
    request = parse_request(document(**changes), CONTEXT)
    assert isinstance(request, ImageRequest), request
    return request


def faults(context: RequestContext = CONTEXT, **changes: object) -> dict[str, str]:
    found = parse_request(document(**changes), context)
    assert isinstance(found, list), "the request was accepted"
    return {fault.path: fault.message for fault in found}


def test_the_reference_example_is_accepted_with_every_field() -> None:
    request = parse(
        storage_size="20Gi",
        cpu=2,
        memory="4Gi",
        customizations={
            "packages": ["docker", "kubectl", "helm"],
            "scripts": ["install-docker.sh", "#!/bin/sh\necho inline\n"],
            "files": {"/etc/motd": "Welcome to GoldenPipe!\n"},
            "users": [{"name": "admin", "password": "password123", "groups": ["sudo"], "sudo": True}],
            "ssh_keys": [KEY],
        },
        labels={"environment": "production", "team": "platform"},
    )
    assert request.size_bytes == 20 * 1024**3


def test_a_password_is_hashed_before_anybody_else_sees_the_request() -> None:
    request = parse(customizations={"users": [{"name": "admin", "password": "password123"}]})
    stored = request.model_dump_json()
    assert "password123" not in stored
    assert sha512_crypt.verify("password123", request.customizations.users[0].password_hash or "")


def test_every_fault_is_told_at_once_with_its_path() -> None:
    found = faults(
        name="Bad_Name",
        os_type="plan9",
        base_iso_url="ftp://x",
        cpu="2",
        memory="lots",
        colour="red",
        customizations={
            "packages": ["-y"],
            "scripts": ["missing.sh"],
            "files": {"etc/motd": "x"},
            "users": [{"name": "Root"}, {"name": "a", "shell": "/bin/zsh"}],
            "ssh_keys": ["ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC..."],
        },
        labels={"a b": "c"},
    )
    assert set(found) == {
        "name",
        "os_type",
        "base_iso_url",
        "cpu",
        "memory",
        "colour",
        "customizations.packages[0]",
        "customizations.scripts[0]",
        'customizations.files["etc/motd"]',
        "customizations.users[0].name",
        "customizations.users[1].shell",
        "customizations.ssh_keys[0]",
        'labels["a b"]',
    }


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "a" * 64}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a..b"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": 5}, "name"),
        ({"cpu": 0}, "cpu"),
        ({"cpu": True}, "cpu"),
        ({"memory": "64Mi"}, "memory"),
        ({"storage_size": "20GiB"}, "storage_size"),
        ({"storage_size": "-1Gi"}, "storage_size"),
        ({"base_iso_url": "https://"}, "base_iso_url"),
        ({"base_iso_url": "https://me:secret@host/x.qcow2"}, "base_iso_url"),
        ({"base_iso_url": "https://host:99999/x"}, "base_iso_url"),
        ({"base_iso_url": "file:///etc/shadow"}, "base_iso_url"),
        ({"base_checksum": "md5:abc"}, "base_checksum"),
        ({"labels": {"goldenpipe.io/build": "x"}}, 'labels["goldenpipe.io/build"]'),
        ({"labels": {"team": "a" * 64}}, "labels.team"),
        ({"labels": {"team": 5}}, "labels.team"),
        ({"customizations": {"files": {"/a/../b": "x"}}}, 'customizations.files["/a/../b"]'),
        ({"customizations": {"files": {"/a": "x", "/a/b": "y"}}}, 'customizations.files["/a"]'),
        ({"customizations": {"users": [{"name": "goldenpipe"}]}}, "customizations.users[0].name"),
        ({"customizations": {"users": [{"name": "a"}, {"name": "a"}]}}, "customizations.users[1].name"),
        ({"customizations": {"users": [{"name": "a", "password": ""}]}}, "customizations.users[0].password"),
        ({"customizations": {"users": [{"name": "a", "groups": ["A B"]}]}}, "customizations.users[0].groups[0]"),
        ({"customizations": {"packages": ["a b"]}}, "customizations.packages[0]"),
        ({"customizations": {"packages": "curl"}}, "customizations.packages"),
        ({"customizations": {"scripts": [5]}}, "customizations.scripts[0]"),
        ({"customizations": None}, "customizations"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(changes: dict[str, object], path: str) -> None:
    assert list(faults(**changes)) == [path]


def test_a_missing_field_is_named() -> None:
    found = parse_request({}, CONTEXT)
    assert [
        Fault("base_iso_url", "is required"),
        Fault("name", "is required"),
        Fault("os_type", "is required"),
    ] == found


@pytest.mark.parametrize("body", [None, 5, "x", [], [{"name": "a"}]])
def test_a_body_that_is_no_object_is_one_fault(body: object) -> None:
    assert parse_request(body, CONTEXT) == [Fault("", "the body must be a JSON object")]


def test_a_private_key_is_refused_without_repeating_it() -> None:
    private = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    found = faults(customizations={"ssh_keys": [private]})
    assert "private key" in found["customizations.ssh_keys[0]"]
    assert private.splitlines()[1] not in str(found)


def test_a_wrong_password_value_is_not_repeated_in_the_fault() -> None:
    found = faults(customizations={"users": [{"name": "a", "password": "hunter2\nx"}]})
    assert "hunter2" not in str(found)


def test_file_urls_are_for_the_local_cluster_only() -> None:
    local = RequestContext(scripts=[], file_urls=True)
    assert isinstance(parse_request(document(base_iso_url="file:///srv/a.qcow2"), local), ImageRequest)
    assert "base_iso_url" in faults(local, base_iso_url="file://other/srv/a.qcow2")
