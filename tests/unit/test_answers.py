"""The answer files, filled for several settings and media, as each installer's own validator reads them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from goldenpipe.lint import job_context, sample_requests
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.answers import render_answer
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.steps import read_step

BUNDLE = Bundle.read()
NAMES = ("debian", "debian-security", "ubuntu", "fedora", "rocky", "rhel", "opensuse")
SETTINGS = {
    "the defaults": ClusterSettings(),
    "a site's own": ClusterSettings(
        install_mirrors={name: f"https://mirror.example/{name}" for name in NAMES},
        install_proxy="http://proxy.example:3128",
        install_locale="de_DE.UTF-8",
        install_keyboard="de",
        install_timezone="Europe/Berlin",
    ),
}
EACH = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
KICKSTARTS = [
    *(("fedora", version, variant, f"F{version}") for version in ("40", "42") for variant in ("dvd", "netinst")),
    ("rhel", "7.9", "dvd", "RHEL7"),
    ("rhel", "8.10", "dvd", "RHEL8"),
    ("rocky", "9.4", "netinst", "RHEL9"),
    ("centos", "10", "netinst", "RHEL10"),
    ("almalinux", "9.4", "dvd", "RHEL9"),
    ("ol", "9.4", "netinst", "RHEL9"),
]


def filled(name: str, settings: ClusterSettings, **facts: str) -> str:
    """As the manifest of install_os has it."""
    step = read_step(BUNDLE, "install_os")
    context = job_context(BUNDLE, step, next(sample_requests()), settings)
    medium = {f"iso_{key}": value for key, value in facts.items()}
    return render_answer(BUNDLE, f"answers/{name}", {**context, "facts": {**context["facts"], **medium}})


@EACH
@pytest.mark.parametrize(("distribution", "version", "variant", "syntax"), KICKSTARTS)
def test_every_kickstart_is_one_for_its_release(
    settings: ClusterSettings, distribution: str, version: str, variant: str, syntax: str
) -> None:
    text = filled("anaconda.ks", settings, distribution=distribution, version=version, variant=variant)
    parser = KickstartParser(makeVersion(syntax))
    parser.readKickstartFromString(text)
    handler = parser.handler
    assert handler.ignoredisk.onlyuse == ["vda"]
    assert handler.clearpart.initAll
    assert handler.rootpw.lock
    assert [(part.mountpoint, part.grow) for part in handler.partition.partitions] == [("/", True)]
    assert {"cloud-init", "openssh-server"} <= set(handler.packages.packageList)
    assert "console=ttyS0" in handler.bootloader.appendLine
    scripts = "\n".join(str(script) for script in handler.scripts)
    assert "goldenpipe: installed" in scripts
    assert sum(line.startswith(("url ", "cdrom")) for line in text.splitlines()) == 1


@EACH
def test_the_preseed_file_is_one_that_debconf_takes(settings: ClusterSettings, tmp_path: Path) -> None:
    file = tmp_path / "preseed.cfg"
    file.write_text(filled("debian-installer.cfg", settings))
    done = subprocess.run(["debconf-set-selections", "-c", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answers = {line.split()[1]: line.split(None, 3)[3:] for line in _lines(file.read_text())}
    mirror = settings.install_mirrors.get("debian", "http://deb.debian.org/debian")
    scheme, _, rest = mirror.partition("://")
    host, _, path = rest.partition("/")
    assert answers[f"mirror/{scheme}/hostname"] == [host]
    assert answers[f"mirror/{scheme}/directory"] == [f"/{path}"]
    assert answers["partman-auto/disk"] == ["/dev/vda"]
    assert answers["debian-installer/exit/poweroff"] == ["true"]
    assert answers["debian-installer/locale"] == [settings.install_locale]


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def test_the_preseed_file_is_the_same_before_and_after_the_iso_is_known() -> None:
    """It goes into the prepared ISO, whose name is made of it before anything is known of the ISO."""
    known = filled("debian-installer.cfg", ClusterSettings(), distribution="debian", version="13", firmware="uefi")
    assert known == filled("debian-installer.cfg", ClusterSettings())


@EACH
def test_autoinstall_has_only_sections_that_subiquity_knows(settings: ClusterSettings) -> None:
    text = filled("subiquity.yaml", settings)
    assert text.startswith("#cloud-config\n")
    document: dict[str, Any] = yaml.safe_load(text)
    assert document.keys() == {"autoinstall"}
    found = document["autoinstall"]
    assert found.keys() <= SUBIQUITY.keys()
    for key, value in found.items():
        assert isinstance(value, SUBIQUITY[key]), key
    assert (found["version"], found["shutdown"]) == (1, "poweroff")
    assert found["storage"]["layout"] == {"name": "direct"}
    for command in (*found["late-commands"], *found["error-commands"]):
        assert isinstance(command, str) or all(isinstance(word, str) for word in command)
    assert found["late-commands"][-1] == 'echo "goldenpipe: installed" >/dev/ttyS0'


SUBIQUITY: dict[str, type] = {
    **dict.fromkeys(("version",), int),
    **dict.fromkeys(("locale", "timezone", "proxy", "shutdown", "updates"), str),
    **dict.fromkeys(("early-commands", "late-commands", "error-commands", "packages", "snaps"), list),
    **dict.fromkeys(("keyboard", "storage", "apt", "ssh", "user-data", "reporting", "refresh-installer"), dict),
}
"""Sections and their types, read in autoinstall-schema.json of canonical/subiquity (its schema is not ours to ship)."""


@EACH
@pytest.mark.parametrize(
    ("distribution", "version"), [("opensuse", "15.6"), ("opensuse", "tumbleweed"), ("sles", "15.6")]
)
def test_the_autoyast_profile_is_well_formed_and_typed(
    settings: ClusterSettings, distribution: str, version: str, tmp_path: Path
) -> None:
    file = tmp_path / "autoinst.xml"
    file.write_text(filled("autoyast.xml", settings, distribution=distribution, version=version))
    done = subprocess.run(["xmllint", "--noout", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    root = ElementTree.fromstring(file.read_text())
    space, config = "{http://www.suse.com/1.0/yast2ns}", "{http://www.suse.com/1.0/configns}type"
    assert root.tag == f"{space}profile"
    for element in root.iter():
        text = (element.text or "").strip()
        kind = element.get(config)
        assert kind in (None, "list", "boolean", "integer", "symbol"), element.tag
        assert (kind == "boolean") == (text in ("true", "false")), f"{element.tag} is {text}"
        assert kind != "integer" or text.isdigit()
        children = [child.tag for child in element]
        # a list holds things of one name, a mapping holds each name once
        assert (len(set(children)) <= 1) if kind == "list" else (len(set(children)) == len(children)), element.tag
    halt = root.find(f"{space}general/{space}mode/{space}halt")
    assert halt is not None
    assert halt.text == "true"


def test_what_runs_in_the_installed_system_is_a_shell_script_that_fits_on_one_line(tmp_path: Path) -> None:
    text = filled("in-target.sh", ClusterSettings())
    assert "'" not in text
    assert "\\" not in text
    file = tmp_path / "in-target.sh"
    for script in (text, "; ".join(text.splitlines())):
        file.write_text(f"#!/bin/sh\nset -e\n{script}\n")
        subprocess.run(["shellcheck", file], check=True)
