"""Finds the Debian mirror that this machine's own apt uses, so that no mirror is ever named here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_local.base_image.errors import BaseImageError
from goldenpipe_local.base_image.process import output_of
from goldenpipe_local.base_image.tools import KEYRING

_POCKETS = ("", "-updates", "-security")
_ALIASES = frozenset({"stable", "oldstable", "oldoldstable", "testing"})
_PASSED_ON = re.compile(r'^(Acquire::(?:https?::Proxy(?:::\S+)?|Check-Valid-Until|Check-Date)) "(.+)";$')


@dataclass(frozen=True, kw_only=True)
class Source:
    """One suite of one archive."""

    uri: str
    suite: str


def parse_paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Reads `apt-get indextargets`: deb822 paragraphs without continuation lines."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        fields = (line.partition(": ") for line in paragraph.splitlines())
        yield {name: value.strip() for name, _, value in fields}


def debian_sources(targets: Iterable[Mapping[str, str]], *, host: str, guest: str) -> tuple[Source, ...]:
    """Those of apt's index targets that are Debian's own archives, with the guest's suites for the host's."""
    found: dict[Source, None] = {}
    for target in targets:
        pocket = _pocket(target.get("Release", ""), host)
        uri = target.get("Repo-URI", "").rstrip("/")
        if pocket is not None and target.get("Component") == "main" and _is_debian(target, uri):
            found[Source(uri=uri, suite=f"{guest}{pocket}")] = None
    return tuple(sorted(found, key=lambda source: _POCKETS.index(source.suite.removeprefix(guest))))


def deb822(sources: Iterable[Source]) -> str:
    """An apt source file in the format that Debian itself ships."""
    return "\n".join(
        f"Types: deb\nURIs: {source.uri}\nSuites: {source.suite}\nComponents: main\nSigned-By: {KEYRING}\n"
        for source in sources
    )


def passed_on_options(apt_config: str) -> tuple[str, ...]:
    """What of this machine's apt settings the way to the mirror depends on: proxies and an archive's age."""
    matches = (_PASSED_ON.match(line) for line in apt_config.splitlines())
    return tuple(f'{match[1]} "{match[2]}";' for match in matches if match)


async def find_sources(guest: str) -> tuple[Source, ...]:
    """The sources for a guest with this codename, from what apt on this machine is configured with."""
    host = _host_codename(Path("/etc/os-release").read_text())
    targets = parse_paragraphs(await output_of("apt-get", "indextargets", "Created-By: Packages"))
    sources = debian_sources(targets, host=host, guest=guest)
    if not any(source.suite == guest for source in sources):
        message = (
            f"apt on this machine names no http(s) mirror of Debian {host or '(codename unknown)'}: "
            "add one to /etc/apt/sources.list.d, or make the base disk on a Debian machine"
        )
        raise BaseImageError(message)
    return sources


async def find_options() -> tuple[str, ...]:
    """The apt settings of this machine without which its mirror could not be reached."""
    return passed_on_options(await output_of("apt-config", "dump"))


def _host_codename(os_release: str) -> str:
    match = re.search(r"^VERSION_CODENAME=\"?(\w+)", os_release, re.MULTILINE)
    return match[1] if match else ""


def _pocket(suite: str, host: str) -> str | None:
    base = re.sub(r"(-updates|-security|/updates)$", "", suite)
    pocket = suite.removeprefix(base).replace("/", "-")
    pocket = "-security" if suite == f"{base}/updates" else pocket
    return pocket if base in _ALIASES | {host} and pocket in _POCKETS else None


def _is_debian(target: Mapping[str, str], uri: str) -> bool:
    """Others name their suites like Debian's; apt knows the origin once it has fetched the archive's index."""
    if not uri.startswith(("http://", "https://")):
        return False
    if "Origin" in target:
        return target["Origin"] == "Debian"
    if "Signed-By" in target:
        return Path(target["Signed-By"]).name.startswith("debian-archive-")
    return uri.endswith(("/debian", "/debian-security"))
