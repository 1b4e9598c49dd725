"""Packages, by the real apt of a real guest."""

from __future__ import annotations

import re

from support.steps.guests import Guest
from support.steps.running import RunInGuest


async def test_packages_are_installed_with_progress_and_only_once(guest: Guest, run: RunInGuest) -> None:
    first = await run("install_packages", packages=["hello", "sl=5*"], names={})
    assert first.process.returncode == 0, first.log
    assert "Hello, world!" in await guest.run("hello")
    percents = [int(found[1]) for line in first.lines if (found := re.match(r"\[ *(\d+)%\]", line))]
    assert percents == sorted(percents)
    assert any(re.match(r"\[ *\d+%\] Installing hello \([1-4] of 4\)", line) for line in first.lines)
    assert first.facts == {"packages": 2, "installed": 4}
    again = await run("install_packages", packages=["hello", "sl=5*"], names={})
    assert again.process.returncode == 0, again.log
    assert "already done" in again.message


async def test_packages_that_are_there_need_no_package_lists(guest: Guest, run: RunInGuest) -> None:
    step = await run("install_packages", packages=["sudo"], names={})
    assert step.process.returncode == 0, step.log
    assert "already there" in step.message
    assert not list((guest.root / "var/lib/apt/lists").glob("*Packages*"))


async def test_all_unknown_packages_are_named_before_anything_is_installed(guest: Guest, run: RunInGuest) -> None:
    names = {"container-thing": {"debian": ["no-such-thing"]}}
    step = await run("install_packages", packages=["hello", "helm", "container-thing", "sl=99.1"], names=names)
    assert step.process.returncode == 20, step.log
    assert "packages helm, container-thing (no-such-thing), sl=99.1 not found in the guest's repos" in step.message
    assert "Debian GNU/Linux" in step.message
    assert not (guest.root / "usr/bin/hello").exists()


async def test_a_package_the_table_knows_to_be_missing_says_what_to_do(run: RunInGuest) -> None:
    names = {"helm": {"ubuntu": "helm", "debian": {"missing": "use the script install-helm.sh"}}}
    step = await run("install_packages", packages=["helm"], names=names)
    assert step.process.returncode == 20
    assert step.message.startswith("package helm not found in the guest's repositories (Debian")
    assert "install-helm.sh" in step.extra["hint"]


async def test_a_guest_without_network_is_a_temporary_failure(guest: Guest, run: RunInGuest) -> None:
    await guest.run(
        "echo 'deb http://127.0.0.1:9 bookworm main' >/etc/apt/sources.list; rm -rf /etc/apt/sources.list.d"
    )
    step = await run("install_packages", packages=["hello"], names={})
    assert step.process.returncode == 10, step.log
    assert "cannot reach its package repositories" in step.message


async def test_an_install_goes_on_when_another_attempt_takes_over(guest: Guest, start: RunInGuest) -> None:
    first = await start("install_packages", packages=["hello"], names={})
    await first.line("Reading the package lists")
    first.process.kill()
    await first.ended()
    second = await start("install_packages", packages=["hello"], names={})
    assert await second.ended() == 0, second.log
    assert sum("Setting up hello" in line for line in second.lines) == 1
    assert "Hello, world!" in await guest.run("hello")


async def test_an_install_runs_again_after_a_reboot(guest: Guest, start: RunInGuest) -> None:
    step = await start("install_packages", packages=["hello"], names={})
    await step.line("Reading the package lists")
    await guest.reboot()
    assert await step.ended() == 0, step.log
    assert "The install was interrupted in the guest; it runs again." in step.lines
    assert "Hello, world!" in await guest.run("hello")
