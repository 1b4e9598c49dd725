"""Users and their keys, in a real guest."""

from __future__ import annotations

import asyncssh
from passlib.hash import sha512_crypt

from support.steps.guests import Guest
from support.steps.running import RunInGuest

KEY = asyncssh.generate_private_key("ssh-ed25519")
PUBLIC = KEY.export_public_key().decode().strip() + " me@home"
HASH = sha512_crypt.using(rounds=5000).hash("password123")


async def _as(guest: Guest, user: str, command: str) -> str:
    """Log in as the user with the key, as its owner will."""
    known = ([guest.host_key.convert_to_public()], [], [])
    async with asyncssh.connect(
        "127.0.0.1", guest.port, username=user, client_keys=[KEY], known_hosts=known, config=None, agent_path=None
    ) as connection:
        done = await connection.run(command)
    lines = (str(done.stderr) + str(done.stdout)).splitlines(keepends=True)
    return "".join(line for line in lines if "unable to resolve host" not in line)


async def test_users_get_groups_home_shell_password_and_sudo(guest: Guest, run: RunInGuest) -> None:
    users = [
        {"name": "admin", "password_hash": HASH, "groups": ["sudo", "team"], "sudo": True},
        {"name": "deploy", "password_hash": None, "groups": [], "sudo": True},
        {"name": "plain", "password_hash": None, "groups": ["team"], "sudo": False},
    ]
    for _ in range(2):
        made = await run("create_users", users=users)
        assert made.process.returncode == 0, made.log
        assert HASH not in made.log
    assert (await guest.run("id -Gn admin")).split() == ["admin", "sudo", "team"]
    assert await guest.run("getent passwd admin") == "admin:x:1001:1002::/home/admin:/bin/bash\n"
    assert (await guest.run("getent shadow admin")).split(":")[1] == HASH
    assert (await guest.run("getent shadow deploy")).split(":")[1] == "*"
    keyed = await run("authorize_keys", keys=[PUBLIC], users=["admin", "deploy", "plain"])
    assert keyed.process.returncode == 0, keyed.log
    assert await _as(guest, "deploy", "sudo -n id -un") == "root\n"
    assert "password is required" in await _as(guest, "admin", "sudo -n id -un")
    assert await _as(guest, "admin", "echo password123 | sudo -S -p '' id -un") == "root\n"
    assert "password is required" in await _as(guest, "plain", "sudo -n id -un")


async def test_no_password_hash_shows_in_the_guests_process_list(guest: Guest, run: RunInGuest) -> None:
    await guest.run(
        "mv /usr/sbin/chpasswd /usr/sbin/chpasswd.real; "
        "printf '#!/bin/sh\\nps -eo args >>/root/seen\\nexec chpasswd.real \"$@\"\\n' >/usr/sbin/chpasswd; "
        "chmod 755 /usr/sbin/chpasswd"
    )
    made = await run("create_users", users=[{"name": "admin", "password_hash": HASH}])
    assert made.process.returncode == 0, made.log
    assert "chpasswd" in guest.read("/root/seen")
    assert HASH not in guest.read("/root/seen")


async def test_keys_are_added_once_and_others_stay(guest: Guest, run: RunInGuest) -> None:
    await guest.run(
        "useradd -m -p '*' bob; mkdir /home/bob/.ssh; printf 'ssh-rsa OLD bob' >/home/bob/.ssh/authorized_keys"
    )
    for _ in range(2):
        keyed = await run("authorize_keys", keys=[PUBLIC, PUBLIC], users=["bob"])
        assert keyed.process.returncode == 0, keyed.log
    assert guest.read("/home/bob/.ssh/authorized_keys").splitlines() == ["ssh-rsa OLD bob", PUBLIC]
    assert await _as(guest, "bob", "id -un") == "bob\n"


async def test_without_users_the_distributions_default_user_gets_the_keys(guest: Guest, run: RunInGuest) -> None:
    config = """
system_info:
  default_user:
    name: debian
    lock_passwd: true
    gecos: Debian
    groups: [adm, audio, made-up]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
"""
    wrote = await run("write_files", files=[{"path": "/etc/cloud/cloud.cfg", "content": config}])
    assert wrote.process.returncode == 0, wrote.log
    keyed = await run("authorize_keys", keys=[PUBLIC], users=[])
    assert keyed.process.returncode == 0, keyed.log
    assert keyed.facts["users"] == "debian"
    assert (await guest.run("id -Gn debian")).split() == ["debian", "adm", "audio", "made-up"]
    assert await _as(guest, "debian", "sudo -n id -un") == "root\n"


async def test_keys_without_anyone_to_own_them_say_what_to_do(run: RunInGuest) -> None:
    keyed = await run("authorize_keys", keys=[PUBLIC], users=[])
    assert keyed.process.returncode == 20
    assert "no default user" in keyed.message
    assert "customizations.users" in keyed.extra["hint"]


async def test_the_builds_own_user_cannot_be_asked_for(run: RunInGuest) -> None:
    made = await run("create_users", users=[{"name": "goldenpipe"}])
    assert made.process.returncode == 20
    assert "the user that the build itself logs in as" in made.message


async def test_sudo_without_sudo_in_the_guest_says_what_to_do(guest: Guest, run: RunInGuest) -> None:
    await guest.run("rm /usr/sbin/visudo")
    made = await run("create_users", users=[{"name": "admin", "sudo": True}])
    assert made.process.returncode == 20
    assert "neither sudo nor doas" in made.message
