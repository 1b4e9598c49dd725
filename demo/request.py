"""What the demo asks for: one request with all five customizations, and what must then be true of the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE = "demo"
USER = "ada"
GROUP = "engineers"
MOTD = "This machine was made by one request.\n"
SCRIPT = """#!/bin/sh
set -eu
echo "made on $(hostname) by a script that ran as $(id -un)" >/etc/demo-script
jq --null-input --raw-output '"packages were there before it: this line is from jq"' >>/etc/demo-script
"""


def make_request(base_disk: Path, public_key: str) -> dict[str, Any]:
    return {
        "name": IMAGE,
        "os_type": "linux",
        "base_iso_url": base_disk.as_uri(),
        "storage_size": "4Gi",
        "cpu": 2,
        "memory": "1Gi",
        "customizations": {
            "packages": ["jq", "tree"],
            "scripts": [SCRIPT],
            "files": {"/etc/motd": MOTD},
            "users": [{"name": USER, "groups": [GROUP], "sudo": True}],
            "ssh_keys": [public_key],
        },
        "labels": {"made-by": "make-demo", "environment": "demo"},
    }


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was asked for, how to see it in the guest, and the words that must be in the answer."""

    asked_for: str
    command: str
    expected: tuple[str, ...]

    def holds(self, answer: str) -> bool:
        return all(words in answer for words in self.expected)


CHECKS = (
    Check(asked_for="package jq", command="jq --version", expected=("jq-",)),
    Check(asked_for="package tree", command="tree --version | cut -d ' ' -f 1-2", expected=("tree v",)),
    Check(asked_for="file /etc/motd", command="cat /etc/motd", expected=(MOTD.strip(),)),
    Check(asked_for=f"user {USER}", command='echo "I am $(id -un)"', expected=(f"I am {USER}",)),
    Check(asked_for=f"group {GROUP}", command='echo "in $(id -Gn)"', expected=(GROUP,)),
    Check(asked_for="sudo", command='echo "with sudo I am $(sudo -n id -un)"', expected=("with sudo I am root",)),
    Check(asked_for="a script", command="cat /etc/demo-script", expected=("ran as root", "from jq")),
)
