"""What installers' consoles say, line by line: how far they are, and what went wrong."""

from __future__ import annotations

import pytest

from goldenpipe_steps.kit.console import plain
from goldenpipe_steps.kit.installers import reader_for

DEBIAN = """\
[    0.000000] Linux version 6.12.117+deb13-amd64 (debian-kernel@lists.debian.org)
Nov 25 10:11:31 main-menu[2225]: INFO: Menu item 'ethdetect' selected
Detecting network hardware  ... 2%... 95%... 100%
Nov 25 10:12:38 main-menu[2225]: INFO: Menu item 'choose-mirror' selected
Nov 25 10:17:28 main-menu[2225]: INFO: Menu item 'partman-base' selected
Nov 25 10:20:10 main-menu[2225]: INFO: Menu item 'bootstrap-base' selected
Nov 25 10:28:22 debootstrap: Unpacking libc6:amd64 (2.41-12+deb13u5) ...
Nov 25 10:28:23 debootstrap: Setting up libc6:amd64 (2.41-12+deb13u5) ...
Nov 25 10:40:00 main-menu[2225]: INFO: Menu item 'pkgsel' selected
Nov 25 10:40:10 in-target: Setting up sudo (1.9.16p2-3) ...
Nov 25 10:45:00 main-menu[2225]: INFO: Menu item 'grub-installer' selected
Nov 25 10:46:00 main-menu[2225]: INFO: Menu item 'finish-install' selected
goldenpipe: installed
"""
"""Of a real install, shortened; the mark is the answer file's."""
ANACONDA = """\
[    0.000000] Linux version 5.14.0-427.el9.x86_64
anaconda 34.25.4.9-1.el9 started.
11:02:01,123 INF anaconda: Processing the kickstart
Configuring storage
Creating xfs on /dev/vda2
Starting package installation process
Installing glibc.x86_64 (120/387)
Installing boot loader
Performing post-installation setup tasks
Running post-installation scripts
goldenpipe: installed
"""
SUBIQUITY = """\
[    0.000000] Linux version 6.8.0-31-generic (buildd@lcy02)
start: subiquity/Network/apply_autoinstall_config
start: subiquity/Filesystem/apply_autoinstall_config
      curtin command install
        curtin command extract
          acquiring and extracting image from cp:///tmp/tmp9/mount
        configuring installed system
          curtin command curthooks
            installing kernel
            configuring target system bootloader
  final system configuration
start: subiquity/Late/run
goldenpipe: installed
"""
AUTOYAST = """\
[    0.000000] Linux version 6.4.0-150600.21-default (geeko@buildhost)
>>> linuxrc 7.0.30.1 (Kernel 6.4.0-150600.21-default) <<<
2026-11-25 10:00:00 <1> install(3000) [Ruby] modules/WorkflowManager inst_autosetup
2026-11-25 10:01:00 <1> install(3000) [Ruby] clients/inst_prepdisk.rb:65 Preparing disks
2026-11-25 10:02:00 <1> install(3000) [Ruby] clients/inst_kickoff.rb:100
2026-11-25 10:03:00 <1> install(3000) [zypp] Package glibc installed
2026-11-25 10:09:00 <1> install(3000) [Ruby] clients/inst_finish.rb:52
goldenpipe: installed
"""
CONSOLES = {"debian-installer": DEBIAN, "anaconda": ANACONDA, "subiquity": SUBIQUITY, "autoyast": AUTOYAST}


@pytest.mark.parametrize("installer", CONSOLES)
def test_progress_goes_forward_and_ends_with_the_mark(installer: str) -> None:
    read = reader_for(installer)
    assert read is not None
    heard = [found for line in CONSOLES[installer].splitlines() if (found := read(line))]
    assert not [found.failure for found in heard if found.failure]
    percents = [found.percent for found in heard if found.percent is not None]
    assert percents == sorted(percents)
    assert len(set(percents)) >= 6
    assert heard[0].booted
    assert [found.done for found in heard] == [False] * (len(heard) - 1) + [True]


def test_hundreds_of_packages_move_the_progress_and_never_out_of_their_stage() -> None:
    read = reader_for("debian-installer")
    assert read is not None
    read("main-menu[1]: INFO: Menu item 'bootstrap-base' selected")
    heard = [read(f"debootstrap: Unpacking package{number} ...") for number in range(2000)]
    percents = [found.percent for found in heard if found and found.percent is not None]
    assert len({int(percent) for percent in percents}) > 30
    assert 20 < min(percents) < max(percents) < 62.1


@pytest.mark.parametrize(
    ("installer", "line", "words"),
    [
        ("debian-installer", "Installation step failed", "stopped: Installation step failed"),
        ("debian-installer", "!! ERROR: No root file system", "stopped: No root file system"),
        ("debian-installer", "[!!] Bad archive mirror", "stopped: Bad archive mirror"),
        ("debian-installer", "Downloading a file failed:", "stopped: Downloading a file failed"),
        ("debian-installer", "Failed to run preseeded command", "stopped: Failed to run preseeded command"),
        ("debian-installer", "Prompt: '?' for help, default=1>", "asks something"),
        ("debian-installer", "Root password:", "asks something"),
        ("anaconda", "Pane is dead", "Anaconda crashed"),
        ("anaconda", "There was an error running the kickstart script at line 40.", "at line 40"),
        ("anaconda", "Failed to set up installation source; check the repo url", "found no packages"),
        ("subiquity", "Continue with autoinstall? (yes|no)", "asks whether it may erase the disk"),
        ("subiquity", "An error occurred. Press enter to start a shell", "stopped with an error"),
        ("subiquity", "finish: subiquity/Filesystem/apply_autoinstall_config: FAIL: no", "Filesystem"),
        ("autoyast", "*** Could not find the SUSE Linux Repository: not found", "found no packages"),
        *(
            (installer, line, words)
            for installer in CONSOLES
            for line, words in (
                ("[ 1.1] Kernel panic - not syncing: VFS: Unable to mount root fs", "Unable to mount root fs"),
                ("You are in emergency mode. After logging in, type journalctl", "emergency shell"),
                ("UEFI Interactive Shell v2.2", "found nothing to boot"),
                (">>Start PXE over IPv4.", "tries the network"),
                ("No bootable device.", "BIOS found nothing"),
                ("goldenpipe: failed: the disk is full", "the installer failed: the disk is full"),
            )
        ),
    ],
)
def test_a_failure_is_known_by_its_words(installer: str, line: str, words: str) -> None:
    read = reader_for(installer)
    assert read is not None
    heard = read(line)
    assert heard is not None
    assert words in heard.failure
    assert heard.hint


def test_a_disk_that_does_not_boot_yet_is_no_failure() -> None:
    """What SeaBIOS says of the empty disk before it goes on to the ISO."""
    read = reader_for("debian-installer")
    assert read is not None
    assert read("Boot failed: not a bootable disk") is None


def test_a_log_of_the_boot_that_is_repeated_is_no_other_boot() -> None:
    read = reader_for("debian-installer")
    assert read is not None
    assert read("Nov 25 10:11:31 kernel: [    0.000000] Linux version 6.12.117+deb13-amd64") is None


def test_what_only_moves_the_cursor_is_not_told() -> None:
    text = "\x1b[0m\x1b[H\x1b[J\x1b[7mInstalling\x1b(B\x1b]0;title\x07 now\r\x1b[2K50%\x1b[24;80H\n"
    assert plain(text) == "Installing now\n50%\n"
