"""Files and scripts, in a real guest."""

from __future__ import annotations

import stat

from support.steps.guests import Guest
from support.steps.running import RunInGuest


async def test_files_arrive_whole_with_their_parent_folders_and_modes(guest: Guest, run: RunInGuest) -> None:
    odd = 'it\'s "$HOME" `x` ünï\n\\ no newline at the end'
    wrote = await run(
        "write_files",
        files=[
            {"path": "/etc/motd", "content": "Welcome!\n"},
            {"path": "/opt/a b/c/odd.txt", "content": odd},
            {"path": "/usr/local/bin/hello", "content": "#!/bin/sh\necho hello\n"},
            {"path": "/srv/own", "content": "", "mode": "0640", "owner": "goldenpipe:adm"},
        ],
    )
    assert wrote.process.returncode == 0, wrote.log
    assert guest.read("/etc/motd") == "Welcome!\n"
    assert guest.read("/opt/a b/c/odd.txt") == odd
    assert await guest.run("/usr/local/bin/hello") == "hello\n"
    assert await guest.run("stat -c '%a %U:%G %s' /srv/own /etc/motd") == "640 goldenpipe:adm 0\n644 root:root 9\n"
    assert wrote.facts == {"files": 4}


async def test_a_file_that_exists_keeps_its_mode_and_owner(guest: Guest, run: RunInGuest) -> None:
    await guest.run("mkdir -p /srv && echo old >/srv/f && chmod 4710 /srv/f && chown goldenpipe:adm /srv/f")
    wrote = await run("write_files", files=[{"path": "/srv/f", "content": "new"}])
    assert wrote.process.returncode == 0, wrote.log
    assert guest.read("/srv/f") == "new"
    assert stat.S_IMODE((guest.root / "srv/f").stat().st_mode) & 0o777 == 0o710
    assert (await guest.run("stat -c %U:%G /srv/f")).strip() == "goldenpipe:adm"


async def test_a_path_that_is_a_folder_is_named_in_the_error(run: RunInGuest) -> None:
    wrote = await run("write_files", files=[{"path": "/etc/ok", "content": ""}, {"path": "/etc/ssh", "content": "x"}])
    assert wrote.process.returncode == 20
    assert "/etc/ssh" in wrote.message
    assert "folder of that name" in wrote.message


async def test_scripts_run_as_root_in_order_and_only_once(guest: Guest, run: RunInGuest) -> None:
    scripts = [
        {"name": "first.sh", "content": "#!/bin/bash\nid -un\npwd; ls -A\necho $GOLDENPIPE >>/root/order\n"},
        {"name": "no-shebang", "content": "echo second >>/root/order\necho 'half a line' >&2; printf end"},
    ]
    first = await run("run_scripts", scripts=scripts)
    assert first.process.returncode == 0, first.log
    assert "first.sh: root" in first.lines
    assert "no-shebang: half a line" in first.lines
    assert "no-shebang: end" in first.lines
    assert "[  0%] Running first.sh (1 of 2)" in first.lines
    assert "[ 50%] Running no-shebang (2 of 2)" in first.lines
    again = await run("run_scripts", scripts=scripts)
    assert again.process.returncode == 0, again.log
    assert "first.sh: already done" in again.lines
    assert guest.read("/root/order") == "1\nsecond\n"


async def test_a_failing_script_is_permanent_and_shows_its_last_lines(guest: Guest, run: RunInGuest) -> None:
    failed = await run(
        "run_scripts",
        scripts=[
            {"name": "bad.sh", "content": "#!/bin/sh\necho looking\necho 'no such cow' >&2\nexit 3\n"},
            {"name": "never.sh", "content": "touch /root/never\n"},
        ],
    )
    assert failed.process.returncode == 20
    assert failed.message == "script bad.sh failed with exit code 3; its last lines: looking / no such cow"
    assert failed.extra["hint"]
    assert failed.message in failed.log
    assert await guest.run("ls /root") == ""


async def test_a_script_outlives_a_lost_connection_and_runs_once(guest: Guest, start: RunInGuest) -> None:
    content = (
        "echo before >>/root/log; echo ready; while [ ! -e /root/go ]; do sleep 0.05; done; echo after; cat /root/log"
    )
    step = await start("run_scripts", scripts=[{"name": "slow.sh", "content": content}])
    await step.line("slow.sh: ready")
    await guest.cut_connections()
    await step.line("lost")
    await guest.run("touch /root/go")
    assert await step.ended() == 0, step.log
    assert step.lines.count("slow.sh: ready") == 1
    assert step.lines.count("slow.sh: before") == 1
    assert "slow.sh: after" in step.lines


async def test_a_killed_step_is_taken_up_by_the_next_attempt(guest: Guest, start: RunInGuest) -> None:
    content = "echo ran >>/root/runs; echo ready; while [ ! -e /root/go ]; do sleep 0.05; done; echo over"
    scripts = [{"name": "slow.sh", "content": content}]
    first = await start("run_scripts", scripts=scripts)
    await first.line("slow.sh: ready")
    first.process.kill()
    await first.ended()
    second = await start("run_scripts", scripts=scripts)
    await second.line("slow.sh: ready")
    await guest.run("touch /root/go")
    assert await second.ended() == 0, second.log
    assert "slow.sh: over" in second.lines
    assert guest.read("/root/runs") == "ran\n"


async def test_a_reboot_in_a_script_carries_on_with_the_next_one(guest: Guest, start: RunInGuest) -> None:
    scripts = [
        {"name": "reboots.sh", "content": "sync; echo going down; sleep 1000"},
        {"name": "next.sh", "content": "echo still here"},
    ]
    step = await start("run_scripts", scripts=scripts)
    await step.line("going down")
    await guest.reboot()
    assert await step.ended() == 0, step.log
    assert "next.sh: still here" in step.lines
    assert "reboots.sh: the guest rebooted while it ran; going on with what comes next" in step.lines


async def test_a_guest_that_does_not_come_back_is_a_permanent_failure(guest: Guest, start: RunInGuest) -> None:
    step = await start(
        "run_scripts", scripts=[{"name": "off.sh", "content": "echo off; sleep 1000"}], reboot_timeout_seconds=1
    )
    await step.line("off.sh: off")
    await guest.stop()
    assert await step.ended() == 20
    assert "did not come back" in step.message


async def test_sigterm_ends_a_step_with_a_clear_word(start: RunInGuest) -> None:
    step = await start("run_scripts", scripts=[{"name": "slow.sh", "content": "echo ready; sleep 1000"}])
    await step.line("ready")
    step.terminate()
    assert await step.ended(5) == 10
    assert "told to stop (SIGTERM)" in step.message


async def test_the_time_limit_says_what_the_step_was_doing(start: RunInGuest) -> None:
    step = await start("run_scripts", timeout_seconds=4, scripts=[{"name": "slow.sh", "content": "sleep 1000"}])
    assert await step.ended(20) == 20
    assert "time limit of 4.0 s; it was at: Running slow.sh (1 of 1)" in step.message


async def test_windows_line_ends_are_explained(run: RunInGuest) -> None:
    step = await run("run_scripts", scripts=[{"name": "dos.sh", "content": "#!/bin/sh\r\necho\r\n"}])
    assert step.process.returncode == 20
    assert "Windows line ends" in step.message


async def test_a_script_that_fills_the_disk_says_so(run: RunInGuest) -> None:
    step = await run("run_scripts", scripts=[{"name": "fill.sh", "content": "cp /etc/passwd /dev/full"}])
    assert step.process.returncode == 20
    assert "the guest's disk is full" in step.message
    assert "storage_size" in step.extra["hint"]
