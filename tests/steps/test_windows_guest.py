"""The steps in a Windows guest, over a real OpenSSH server; the test plays the PowerShell that they talk to."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from support.steps.running import RunInGuest
from support.steps.windows import Answer, Call, Job, Windows, call_of

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA sample"


AWKWARD = 'it\'s `"$(Remove-Item)" %PATH% & | > ^ ü 中 😀\r\n\ttab\x00end'


async def test_a_files_every_byte_arrives_whatever_it_is(windows: Windows, run_there: RunInGuest) -> None:
    path = r"C:\ProgramData\it's $HOME & more\ü.txt"
    step = await run_there("write_files", files=[{"path": path, "content": AWKWARD}])
    assert step.process.returncode == 0, step.log
    [call] = windows.of("write_files")
    [file] = call.given["files"]
    assert file["path"] == path
    assert base64.b64decode(file["content"]) == AWKWARD.encode()


async def test_nothing_of_a_step_stays_in_the_guest(windows: Windows, run_there: RunInGuest) -> None:
    await run_there("write_files", files=[{"path": r"C:\a.txt", "content": "secret"}])
    assert list((windows.root / "C:/ProgramData/goldenpipe/run").iterdir()) == []


async def test_a_file_that_cannot_be_written_is_named(windows: Windows, run_there: RunInGuest) -> None:
    def refuse(_call: Call) -> Answer:
        return Answer(err=b"there is a folder of that name\r\n", code=1).record("failed 1")

    windows.plays["write_files"] = refuse
    files = [{"path": r"C:\a.txt", "content": ""}, {"path": r"C:\b.txt", "content": ""}]
    step = await run_there("write_files", files=files)
    assert step.process.returncode == 20
    assert step.message == r"writing C:\b.txt failed in the guest (exit code 1): there is a folder of that name"


async def test_a_full_disk_is_told_as_such(windows: Windows, run_there: RunInGuest) -> None:
    windows.plays["write_files"] = lambda _: Answer(err=b"There is not enough space on the disk.\r\n", code=1)
    step = await run_there("write_files", files=[{"path": r"C:\a.txt", "content": "x"}])
    assert step.process.returncode == 20
    assert "disk is full" in step.message
    assert "storage_size" in step.extra["hint"]


async def test_passwords_come_from_the_secret_and_show_nowhere(
    windows: Windows, run_there: RunInGuest, tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "password-Ada").write_text(AWKWARD.replace("\x00", ""))
    users = [{"name": "Ada", "password_hash": "password-Ada", "groups": ["Administrators"]}, {"name": "bob"}]
    step = await run_there("create_users", users=users, secrets=folder)
    assert step.process.returncode == 0, step.log
    [call] = windows.of("create_users")
    assert call.given["users"][0]["password"] == AWKWARD.replace("\x00", "").replace("\r\n", "\n")
    assert call.given["groups"] == ["Administrators"]
    assert "Remove-Item" not in step.log


async def test_a_password_that_is_gone_fails_in_words(windows: Windows, run_there: RunInGuest, tmp_path: Path) -> None:
    step = await run_there("create_users", users=[{"name": "Ada", "password_hash": "password-Ada"}], secrets=tmp_path)
    assert step.process.returncode == 20
    assert "the password of user Ada is not in the build's Secret" in step.message
    assert not windows.calls


async def test_a_weak_password_is_refused_with_windows_own_rule(windows: Windows, run_there: RunInGuest) -> None:
    words = b"Unable to update the password. It does not meet the length, complexity, or history requirements.\r\n"
    windows.plays["create_users"] = lambda _: Answer(err=words, code=1).record("failed making user Ada")
    step = await run_there("create_users", users=[{"name": "Ada"}])
    assert step.message.startswith("making user Ada failed: Unable to update the password.")
    assert "three of" in step.extra["hint"]


async def test_keys_without_users_are_for_administrators(windows: Windows, run_there: RunInGuest) -> None:
    step = await run_there("authorize_keys", keys=[KEY, KEY], users=[])
    assert step.message == "Authorized 1 key for administrators"
    assert windows.of("authorize_keys")[0].given == {"keys": [KEY], "users": []}


async def test_scripts_run_in_order_once_and_show_their_output(windows: Windows, run_there: RunInGuest) -> None:
    windows.ends = lambda key, _: Job(out=f"hello from {key}\r\n".encode(), code="0")
    scripts = [{"name": "one.ps1", "content": "'one'\n"}, {"name": "two.ps1", "content": AWKWARD}]
    step = await run_there("run_scripts", scripts=scripts)
    assert step.message == "Ran 2 scripts: one.ps1, two.ps1"
    assert [call.given["key"][:14] for call in windows.of("mark")] == ["run_scripts-01", "run_scripts-02"]
    assert "one.ps1: hello from run_scripts-01-one-ps1" in step.log
    again = await run_there("run_scripts", scripts=scripts)
    assert "two.ps1: already done" in again.log
    assert len(windows.of("mark")) == 2


async def test_a_scripts_text_reaches_powershell_as_it_is(windows: Windows, run_there: RunInGuest) -> None:
    programs = []

    def end(_key: str, program: str) -> Job:
        programs.append(program)
        return Job(code="0")

    windows.ends = end
    await run_there("run_scripts", scripts=[{"name": "a.ps1", "content": AWKWARD}])
    assert programs == [AWKWARD.replace("\r\n", "\n")]


async def test_a_failed_script_ends_the_step_with_its_last_words(windows: Windows, run_there: RunInGuest) -> None:
    windows.ends = lambda *_: Job(out=b"At line:1\r\ncannot find Ada\r\n", code="7")
    step = await run_there("run_scripts", scripts=[{"name": "a.ps1", "content": "x"}])
    assert step.process.returncode == 20
    assert step.message == "script a.ps1 failed with exit code 7; its last lines: At line:1 / cannot find Ada"


async def test_a_script_that_asks_for_a_restart_gets_one(windows: Windows, start_there: RunInGuest) -> None:
    windows.ends = lambda key, _: Job(code="3010" if "-01-" in key else "0")
    step = await start_there(
        "run_scripts", scripts=[{"name": "a.ps1", "content": "x"}, {"name": "b.ps1", "content": "y"}]
    )
    await step.line("it asks for a restart")
    await windows.hears("reboot")
    assert windows.of("reboot")[0].given == {"boot": "1"}
    await windows.reboot()
    assert await step.ended() == 0
    assert "The guest has rebooted and is back." in step.log
    assert len(windows.of("reboot")) == 1


async def test_a_script_that_restarts_the_guest_counts_as_done(windows: Windows, start_there: RunInGuest) -> None:
    windows.ends = lambda key, _: Job(out=b"restarting\r\n") if "-01-" in key else Job(code="0")
    step = await start_there(
        "run_scripts", scripts=[{"name": "a.ps1", "content": "x"}, {"name": "b.ps1", "content": "y"}]
    )
    await step.line("a.ps1: restarting")
    await windows.reboot()
    assert await step.ended() == 0
    assert "a.ps1: the guest restarted while it ran" in step.log


async def test_a_script_that_ends_while_the_guest_goes_down_waits_for_it(
    windows: Windows, start_there: RunInGuest
) -> None:
    windows.ends = lambda key, _: Job(code="0 stopping" if "-01-" in key else "0")
    step = await start_there(
        "run_scripts", scripts=[{"name": "a.ps1", "content": "x"}, {"name": "b.ps1", "content": "y"}]
    )
    await step.line("the guest is going down")
    await windows.reboot()
    assert await step.ended() == 0
    assert not windows.of("reboot")


async def test_a_restart_that_is_over_when_its_script_is_asked_after_is_not_waited_for(
    windows: Windows, run_there: RunInGuest
) -> None:
    windows.ends = lambda *_: Job(code="0 stopping", boot="0")
    step = await run_there("run_scripts", scripts=[{"name": "a.ps1", "content": "x"}])
    assert step.process.returncode == 0, step.log


async def test_a_lost_connection_loses_no_line_of_a_script(windows: Windows, start_there: RunInGuest) -> None:
    job = Job(out=b"first\r\nsecond, cut in the mid")
    windows.ends = lambda *_: job
    step = await start_there("run_scripts", scripts=[{"name": "a.ps1", "content": "x"}])
    await step.line("a.ps1: first")
    await windows.cut_connections()
    job.out += b"dle\r\nthird\r\n"
    job.code = "0"
    assert await step.ended() == 0
    lines = [line for line in step.lines if line.startswith("a.ps1: ")]
    assert lines == ["a.ps1: first", "a.ps1: second, cut in the middle", "a.ps1: third"]


INSTALLER = f"https://example.com/tools/Setup%20Tool.msi?token=hidden#sha256={'a' * 64}"


async def test_packages_go_to_the_manager_that_the_guest_has(windows: Windows, run_there: RunInGuest) -> None:
    windows.chocolatey = r"C:\ProgramData\chocolatey\bin\choco.exe"
    windows.ends = lambda *_: Job(out=b"\x1e50 Installing git (2 of 2)\r\n", code="0")
    names = {"docker": {"windows": {"missing": "use the script install-docker.ps1"}}, "vcs": {"chocolatey": "git=2.44"}}
    step = await run_there("install_packages", packages=["vcs", INSTALLER], names=names)
    assert step.process.returncode == 0, step.log
    assert step.message == "Installed vcs and Setup Tool.msi"
    [key] = {call.given["key"] for call in windows.of("mark")}
    assert key.startswith("install_packages-")
    assert "hidden" not in step.log
    missing = await run_there("install_packages", packages=["docker"], names=names)
    assert missing.process.returncode == 20
    assert missing.extra["hint"] == "docker: use the script install-docker.ps1"


async def test_what_is_to_be_installed_is_data_not_powershell(windows: Windows, run_there: RunInGuest) -> None:
    windows.winget = r"C:\Program Files\WindowsApps\x\winget.exe"
    programs = []

    def end(_key: str, program: str) -> Job:
        programs.append(program)
        return Job(code="0")

    windows.ends = end
    await run_there("install_packages", packages=["Git.Git=2.44.0", INSTALLER + "&args=/qn%20X='%24(evil)'"], names={})
    call = call_of(programs[0])
    assert call.name == "install_packages"
    git, tool = call.given["items"]
    assert (git["kind"], git["name"], git["version"]) == ("winget", "Git.Git", "2.44.0")
    assert (tool["url"], tool["arguments"]) == (INSTALLER.partition("#")[0], "/qn X='$(evil)'")
    assert "evil" not in programs[0]


async def test_a_guest_without_a_package_manager_says_what_to_do(run_there: RunInGuest) -> None:
    step = await run_there("install_packages", packages=["git"], names={})
    assert step.process.returncode == 20
    assert "neither winget nor Chocolatey" in step.message
    assert "#sha256=" in step.extra["hint"]


@pytest.mark.parametrize(
    ("record", "code", "words"),
    [
        ("failed -1978335212 git", 20, "package git not found by the guest's package manager"),
        ("failed 1603 git", 20, "installing git failed with exit code 1603: fatal"),
        (f"checksum git {'b' * 64}", 20, f"the checksum of git is wrong: the file has sha256 {'b' * 64}"),
        ("unreachable git", 10, "git cannot be downloaded by the guest: fatal"),
    ],
)
async def test_a_failed_install_says_which_package_and_why(
    windows: Windows, run_there: RunInGuest, record: str, code: int, words: str
) -> None:
    windows.winget = "winget.exe"
    windows.ends = lambda *_: Job(out=f"fatal\r\n\x1e{record}\r\n".encode(), code="1")
    step = await run_there("install_packages", packages=["git"], names={})
    assert (step.process.returncode, step.message) == (code, words)


async def test_updates_take_as_many_restarts_as_they_need(windows: Windows, start_there: RunInGuest) -> None:
    windows.ends = lambda key, _: Job(code="3010" if key.endswith("-1") else "0")
    step = await start_there("update_windows")
    await windows.hears("reboot")
    await windows.reboot()
    assert await step.ended() == 0
    assert step.message == "Windows is up to date"
    assert windows.done == {"update_windows-1", "update_windows-2"}


async def test_updates_that_never_end_fail_by_name(windows: Windows, start_there: RunInGuest) -> None:
    windows.done = {f"update_windows-{number}" for number in range(1, 6)}
    windows.ends = lambda *_: Job(out=b"\x1efailed 0x80240022 KB5034441\r\n", code="3010")
    step = await start_there("update_windows")
    assert await step.ended() == 20
    assert step.message == "the update KB5034441 cannot be installed (0x80240022)"
