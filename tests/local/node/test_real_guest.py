"""A real Linux on the node: cloud-init reads its Secret, SSH answers with the pinned host key, power-off is clean."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncssh
import pytest
import yaml

from goldenpipe_kube import Kube, Object
from support.guests import a_machine, a_volume
from support.pods import in_phase
from support.watching import until

DISK = os.environ.get("GOLDENPIPE_TEST_DISK")
MINUTES = 60.0

pytestmark = [
    pytest.mark.usefixtures("agent"),
    pytest.mark.guest,
    pytest.mark.skipif(not DISK, reason="GOLDENPIPE_TEST_DISK names no disk image"),
]


def cloud_config(user_key: asyncssh.SSHKey, host_key: asyncssh.SSHKey) -> str:
    document = {
        "users": [
            {
                "name": "tester",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [user_key.export_public_key().decode().strip()],
            }
        ],
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ed25519_private": host_key.export_private_key().decode(),
            "ed25519_public": host_key.export_public_key().decode().strip(),
        },
    }
    return "#cloud-config\n" + yaml.safe_dump(document)


async def connect(vmi: Object, user_key: asyncssh.SSHKey, host_key: asyncssh.SSHKey) -> asyncssh.SSHClientConnection:
    """Try until sshd answers: while the guest boots, QEMU takes connections and drops them."""
    known = asyncssh.import_known_hosts(f"* {host_key.export_public_key().decode()}")
    host = vmi["status"]["interfaces"][0]["ipAddress"]
    port = int(vmi["metadata"]["annotations"]["goldenpipe.io/ssh-port"])
    options = {"username": "tester", "client_keys": [user_key], "known_hosts": known, "config": None}
    async with asyncio.timeout(5 * MINUTES):
        while True:
            try:
                return await asyncssh.connect(host, port, login_timeout=10, connect_timeout=10, **options)
            except (OSError, asyncssh.Error):
                await asyncio.sleep(0.5)


async def test_a_real_guest_boots_answers_and_powers_off(kube: Kube) -> None:
    user_key, host_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    secret = {"userdata": cloud_config(user_key, host_key)}
    await kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ci"}, "stringData": secret})
    await kube.create(a_volume(Path(str(DISK)).absolute().as_uri(), size="4Gi"))
    machine = a_machine(strategy="Once", cores=2, grace=60, ci={"cloudInitNoCloud": {"secretRef": {"name": "ci"}}})
    machine["spec"]["template"]["spec"]["domain"]["memory"]["guest"] = "1Gi"
    await kube.create(machine)
    vmi = await until(kube, "VirtualMachineInstance", in_phase("Running"), seconds=MINUTES)
    async with await connect(vmi, user_key, host_key) as guest:
        name = await guest.run("hostname; id -un; findmnt -no SIZE / ", check=True)
        assert str(name.stdout).split()[:2] == ["tiny", "tester"]
        await guest.run("sudo poweroff")
    ended = await until(kube, "VirtualMachineInstance", in_phase("Succeeded", "Failed"), seconds=2 * MINUTES)
    assert ended["status"]["phase"] == "Succeeded"
