"""The built-in scripts and the table of package names, as a request uses them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.guest import Facts
from goldenpipe_steps.kit.names import translate
from support.steps.guests import Guest
from support.steps.running import RunInGuest

TEMPLATES = Path(__file__).parents[2] / "templates"
SCRIPTS = sorted((TEMPLATES / "scripts").glob("*.sh"))
TABLE = yaml.safe_load((TEMPLATES / "packages.yaml").read_text())


def _facts(os_id: str, version: str, *like: str) -> Facts:
    return Facts(
        os_id=os_id, os_like=like, os_version=version, os_name=f"{os_id} {version}", kernel="", manager="", boot="",
        done=frozenset(),
    )  # fmt: skip


DEBIAN_12 = _facts("debian", "12")
DEBIAN_13 = _facts("debian", "13")
UBUNTU = _facts("ubuntu", "24.04", "debian")
ROCKY = _facts("rocky", "9.4", "rhel", "centos", "fedora")
FEDORA = _facts("fedora", "42")


@pytest.mark.parametrize(
    ("asked", "facts", "names"),
    [
        ("docker", DEBIAN_12, ["docker.io"]),
        ("docker", DEBIAN_13, ["docker.io", "docker-cli"]),
        ("docker", UBUNTU, ["docker.io"]),
        ("docker", FEDORA, ["moby-engine", "docker-cli"]),
        ("kubectl", DEBIAN_12, ["kubernetes-client"]),
        ("apache", ROCKY, ["httpd"]),
        ("ssh-server", UBUNTU, ["openssh-server"]),
        ("nginx", ROCKY, ["nginx"]),
        ("helm", FEDORA, ["helm"]),
    ],
)
def test_people_may_name_packages_as_they_are_used_to(asked: str, facts: Facts, names: list[str]) -> None:
    (wish,) = translate([asked], TABLE, facts)
    assert wish.names == names


def test_packages_that_a_distribution_lacks_are_all_named_with_a_way_out() -> None:
    with pytest.raises(Permanent) as caught:
        translate(["docker", "nginx", "helm", "kubectl"], TABLE, ROCKY)
    assert caught.value.message == "packages docker, helm, kubectl not found in the guest's repositories (rocky 9.4)"
    assert "install-docker.sh" in caught.value.hint


def test_every_entry_of_the_table_is_understood() -> None:
    for facts in (DEBIAN_12, DEBIAN_13, UBUNTU, ROCKY, FEDORA, _facts("alpine", "3.20"), _facts("sles", "15", "suse")):
        for name in TABLE:
            try:
                assert translate([name], TABLE, facts)
            except Permanent as error:
                assert error.hint  # noqa: PT017  # both ways are right


@pytest.mark.parametrize("name", ["--allow-downgrades", "nginx; reboot", "", "a b", "$(id)"])
def test_a_package_name_cannot_smuggle_in_options_or_commands(name: str) -> None:
    with pytest.raises(Permanent, match="is no package name"):
        translate([name], TABLE, DEBIAN_12)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_library_scripts_are_plain_shell_that_stops_at_the_first_fault(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n# ")
    assert "\nset -eu\n" in text
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("needs shellcheck")
    done = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


async def test_light_library_scripts_run_twice_in_a_guest(guest: Guest, run: RunInGuest) -> None:
    names = ["set-timezone-utc.sh", "disable-unattended-upgrades.sh", "harden-ssh.sh"]
    library = {name: (TEMPLATES / "scripts" / name).read_text() for name in names}
    scripts = [{"name": name, "content": library[name]} for name in names]
    again = [{"name": f"again-{name}", "content": library[name]} for name in names]
    step = await run("run_scripts", scripts=scripts + again)
    assert step.process.returncode == 0, step.log
    settings = await guest.run("/usr/sbin/sshd -T | grep -iE '^(passwordauthentication|permitrootlogin) '")
    assert sorted(settings.split()) == ["no", "no", "passwordauthentication", "permitrootlogin"]
    assert 'APT::Periodic::Enable "0"' in await guest.run("apt-config dump | grep Periodic::Enable")
