"""The guest's package managers: what each runs, and what its output lines mean.

Every install is one script, run as a job in the guest. It tells the step in records what it does, and the manager's own
lines tell the rest: unknown names, how far it is, and why it failed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from goldenpipe_steps.kit.shell import words

_APT = r"""
export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical APT_LISTCHANGES_FRONTEND=none
export NEEDRESTART_SUSPEND=1 UCF_FORCE_CONFFOLD=1
say() { printf '\n\036%s\n' "$*"; }

# everything there already: no index is needed
if states=$(dpkg-query -W -f '${db:Status-Abbrev}\n' -- @NAMES@ 2>/dev/null) && ! echo "$states" | grep -qv '^ii '; then
    say present
    exit 0
fi

# the index of man pages is made by its daily timer too; making it here takes long
index=/var/lib/man-db/auto-update
APT_CONFIG=$(mktemp)
export APT_CONFIG
log=$(mktemp)
trap 'rm -f "$APT_CONFIG" "$log"; [ ! -e $index.goldenpipe ] || mv $index.goldenpipe $index' EXIT
[ ! -e $index ] || mv $index $index.goldenpipe

# only the lists that an install needs, and no cache of them on disk: it would be written for this one run
{
    # told the architectures, apt need not start dpkg for them again and again
    echo 'APT::Architectures {'
    { dpkg --print-architecture; dpkg --print-foreign-architectures; } | sed 's/.*/"&";/'
    echo '};'
    echo 'Dir::Cache { pkgcache ""; srcpkgcache ""; };'
    echo 'Acquire { Languages "none"; PDiffs "false"; Retries "2"; };'
    echo 'Acquire::http::Timeout "30"; Acquire::https::Timeout "30";'
    echo 'Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";'
    echo 'Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";'
    echo 'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";'
    echo 'Dpkg::Use-Pty "0"; DPkg::Lock::Timeout "300";'
    echo 'Dpkg::Options { "--force-unsafe-io"; "--force-confdef"; "--force-confold"; };'
    # xz packs better, but under emulation unpacking it takes longer than fetching more
    ! grep -q 'QEMU TCG' /proc/cpuinfo || echo 'Acquire::CompressionTypes::Order { "gz"; };'
} >"$APT_CONFIG"
chmod 0644 "$APT_CONFIG"

say update
tries=0
while :; do
    apt-get -q update -o pkgCacheFile::Generate=false 2>&1 | tee "$log"
    grep -q '^E: Could not get lock' "$log" || break
    [ $tries -lt 150 ] || break
    [ $tries != 0 ] || say waiting
    tries=$((tries+1))
    sleep 2
done

say install
run=
! command -v eatmydata >/dev/null || run=eatmydata
$run apt-get -q -y -o APT::Cmd::Pattern-Only=true install -- @NAMES@ 2>&1
"""
"""Measured in a guest under emulation, this takes about two thirds of the time of plain update and install."""
_DNF = r"""
# dnf reads stale or missing package lists by itself
printf '\n\036install\n'
dnf -y install -- @NAMES@ 2>&1
"""
_ZYPPER = r"""
say() { printf '\n\036%s\n' "$*"; }
export ZYPP_LOCK_TIMEOUT=300
say update
zypper --non-interactive refresh 2>&1 || true
say install
zypper --non-interactive install --auto-agree-with-licenses -- @NAMES@ 2>&1
"""
_APK = r"""
say() { printf '\n\036%s\n' "$*"; }
say update
apk --no-interactive --wait 300 update 2>&1 || true
say install
apk --no-interactive --wait 300 add @NAMES@ 2>&1
"""
NETWORK = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Connection timed out|Network is unreachable"
    r"|Failed to fetch|Cannot download|Curl error|Failed to download metadata|Errors during downloading"
    r"|\(curl\) error|Failed to connect|Connection failed|Could not refresh the repositories"
    r"|Timeout exceeded|temporary error \(try again later\)|network error|DNS lookup error|no address associated",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Manager:
    """One package manager; each pattern's first group is what it is named for."""

    name: str
    script: str
    unknown: tuple[str, ...]
    total: tuple[str, ...] = ()
    """How many packages will be worked on."""
    fetched: str = ""
    unpacked: str = ""
    finished: str = ""
    """A line that tells of one package got, unpacked, set up."""
    counted: str = ""
    """A line that counts by itself: number, total, package."""


MANAGERS = {
    "apt": Manager(
        name="apt",
        script=_APT,
        unknown=(
            r"^E: Unable to locate package (\S+)",
            r"^E: Package '([^']+)' has no installation candidate",
            r"^E: Version '[^']+' for '([^']+)' was not found",
            r"^E: Release '[^']+' for '([^']+)' was not found",
        ),
        total=(r"^(\d+) upgraded, (\d+) newly installed, (\d+) to remove", r"^(\d+) upgraded, (\d+) newly installed"),
        fetched=r"^Get:\d+ \S+ \S+ \S+ (\S+)",
        unpacked=r"^Unpacking (\S+)",
        finished=r"^Setting up (\S+)",
    ),
    "dnf": Manager(
        name="dnf",
        script=_DNF,
        unknown=(r"^No match for argument: (.+?)\s*$",),
        counted=(
            r"^\s*(?:Installing|Upgrading|Reinstalling)\s*:\s*(\S+).*?(\d+)/(\d+)\s*$"
            r"|^\[\s*(\d+)/(\d+)\] Installing (\S+)"
        ),
    ),
    "zypper": Manager(
        name="zypper",
        script=_ZYPPER,
        unknown=(r"^No provider of '([^']+)' found", r"^Package '([^']+)' not found"),
        counted=r"^\(\s*(\d+)/(\d+)\) Installing: (\S+)",
    ),
    "apk": Manager(
        name="apk",
        script=_APK,
        unknown=(r"^\s+(\S+) \(no such package\)",),
        counted=r"^\(\s*(\d+)/(\d+)\) (?:Installing|Upgrading) (\S+)",
    ),
}


def script_for(manager: Manager, names: list[str]) -> bytes:
    return ("#!/bin/sh\n" + manager.script.lstrip().replace("@NAMES@", words(names))).encode()


@dataclass
class Progress:
    """Reads a manager's lines as they come and knows what to say about them."""

    manager: Manager
    total: int = 0
    fetched: int = 0
    unpacked: int = 0
    finished: int = 0
    phase: str = ""
    present: bool = False
    unknown: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Lines that tell of a network that does not work."""
    lines: list[str] = field(default_factory=list)
    """The last ones, for an error nobody foresaw."""

    def record(self, text: str) -> tuple[float, str] | None:
        """A record of the install script; progress and message, if it is worth telling."""
        self.phase = text
        if text == "present":
            self.present = True
        return {
            "update": (2.0, "Reading the package lists"),
            "waiting": (2.0, "Waiting for another package manager in the guest"),
            "install": (15.0, "Choosing packages"),
        }.get(text)

    def line(self, text: str) -> tuple[float, str] | None:
        self.lines = [*self.lines[-19:], text]
        if NETWORK.search(text):
            self.trouble.append(text.strip())
        if self.phase != "install":
            return None
        for pattern in self.manager.unknown:
            if (found := re.search(pattern, text)) and found[1] not in self.unknown:
                self.unknown.append(found[1])
        for pattern in self.manager.total:
            if found := re.search(pattern, text):
                self.total = int(found[1]) + int(found[2])
        return self._counted(text) or self._steps(text)

    def _counted(self, text: str) -> tuple[float, str] | None:
        if not self.manager.counted or not (found := re.search(self.manager.counted, text)):
            return None
        values = [value for value in found.groups() if value]
        name = next(value for value in values if not value.isdigit())
        self.finished, self.total = (int(value) for value in values if value.isdigit())
        bare = re.sub(r"-\d.*", "", name)
        return 20 + 78 * self.finished / max(self.total, 1), self._words("Installing", bare, self.finished)

    def _steps(self, text: str) -> tuple[float, str] | None:
        """apt: a fifth of the time goes into fetching, the rest into unpacking and setting up."""
        for attribute, start, width, verb in (
            ("fetched", 16, 16, "Fetching"),
            ("unpacked", 32, 30, "Unpacking"),
            ("finished", 62, 36, "Installing"),
        ):
            pattern = getattr(self.manager, attribute)
            if pattern and (found := re.search(pattern, text)):
                count = min(getattr(self, attribute) + 1, self.total or 1_000_000)
                setattr(self, attribute, count)
                name = found[1].partition(":")[0]
                return start + width * count / max(self.total, count), self._words(verb, name, count)
        return None

    def _words(self, verb: str, name: str, count: int) -> str:
        return f"{verb} {name} ({count} of {self.total})" if self.total else f"{verb} {name}"
