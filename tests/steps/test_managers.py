"""What dnf and zypper really say (recorded), and apk by its source, becomes progress and names."""

from __future__ import annotations

import pytest

from goldenpipe_steps.kit.managers import MANAGERS, Progress

DNF_INSTALLS = """\
Dependencies resolved.
 alpha             noarch             1.2-1             local             5.4 k
Install  3 Packages
Running transaction
  Preparing        :                                                        1/1
  Installing       : beta-1.2-1.noarch                                      1/3
  Installing       : alpha-1.2-1.noarch                                     2/3
  Installing       : gamma-1.2-1.noarch                                     3/3
  Verifying        : alpha-1.2-1.noarch                                     1/3
Complete!"""
DNF_UNKNOWN = """\
Package gamma-1.2-1.noarch is already installed.
No match for argument: helm
No match for argument: nosuch
Error: Unable to find a match: helm nosuch"""
DNF_OFFLINE = """\
local                                           0.0  B/s |   0  B     00:00
Errors during downloading metadata for repository 'local':
  - Curl error (7): Couldn't connect to server for http://127.0.0.1:9/repodata/repomd.xml
Ignoring repositories: local
No match for argument: delta"""
ZYPPER_INSTALLS = """\
The following 3 NEW packages are going to be installed:
  alpha beta gamma
Retrieving package beta-1.2-1.noarch (1/3),   5.4 KiB (    0   B unpacked)
Checking for file conflicts: [......done]
(1/3) Installing: beta-1.2-1.noarch [...done]
(2/3) Installing: alpha-1.2-1.noarch [...done]
(3/3) Installing: gamma-1.2-1.noarch [...done]"""
ZYPPER_UNKNOWN = """\
'gamma' is already installed.
'helm' not found in package names. Trying capabilities.
No provider of 'helm' found.
'nosuch' not found in package names. Trying capabilities.
No provider of 'nosuch' found."""
ZYPPER_OFFLINE = """\
 - Download (curl) error for 'http://127.0.0.1:9/content':
Error code: Connection failed
Error message: Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server
No provider of 'delta' found."""
APK_INSTALLS = """\
(1/3) Installing beta (1.2-r0)
(2/3) Installing alpha (1.2-r0)
(3/3) Installing gamma (1.2-r0)
OK: 12 MiB in 30 packages"""
APK_UNKNOWN = """\
ERROR: unable to select packages:
  helm (no such package):
    required by: world[helm]
  nosuch (no such package):
    required by: world[nosuch]"""


def read(manager: str, text: str) -> tuple[Progress, list[str]]:
    progress = Progress(MANAGERS[manager])
    progress.record("install")
    told = [what[1] for line in text.splitlines() if (what := progress.line(line))]
    return progress, told


@pytest.mark.parametrize(
    ("manager", "text"), [("dnf", DNF_INSTALLS), ("zypper", ZYPPER_INSTALLS), ("apk", APK_INSTALLS)]
)
def test_each_package_is_told_with_its_number(manager: str, text: str) -> None:
    progress, told = read(manager, text)
    assert told == ["Installing beta (1 of 3)", "Installing alpha (2 of 3)", "Installing gamma (3 of 3)"]
    assert progress.total == 3
    assert not progress.unknown


@pytest.mark.parametrize(("manager", "text"), [("dnf", DNF_UNKNOWN), ("zypper", ZYPPER_UNKNOWN), ("apk", APK_UNKNOWN)])
def test_all_unknown_packages_are_found(manager: str, text: str) -> None:
    progress, _ = read(manager, text)
    assert progress.unknown == ["helm", "nosuch"]


@pytest.mark.parametrize(("manager", "text"), [("dnf", DNF_OFFLINE), ("zypper", ZYPPER_OFFLINE)])
def test_a_dead_network_is_not_taken_for_an_unknown_package(manager: str, text: str) -> None:
    progress, _ = read(manager, text)
    assert progress.trouble
