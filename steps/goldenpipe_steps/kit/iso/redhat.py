"""Media of RHEL, its relatives and Fedora: Anaconda reads a kickstart from a volume labelled OEMDRV by itself."""

from __future__ import annotations

import configparser
import re
from dataclasses import replace

from goldenpipe_steps.kit.iso.medium import Medium, architecture, number
from goldenpipe_steps.kit.iso.reading import Tree, Volume

ANACONDA = "anaconda"
_FAMILIES = (
    ("Red Hat Enterprise Linux", "rhel", 7),
    ("CentOS", "centos", 7),
    ("Rocky", "rocky", 8),
    ("AlmaLinux", "almalinux", 8),
    ("Oracle Linux", "ol", 7),
    ("Fedora", "fedora", 30),
)
"""How `.treeinfo` begins its family, the ID in /etc/os-release, and the oldest release that reads OEMDRV here."""
_LABELS = re.compile(
    r"(?P<family>RHEL|CentOS|Rocky|AlmaLinux|OL|Fedora)(?:-Stream)?"
    r"(?:-(?P<edition>[A-Za-z]+)(?:-[A-Za-z]+)?(?:-x86_64|-aarch64)?)?-(?P<version>\d+(?:[.-]\d+)*)"
)
_LABEL_FAMILIES = {"RHEL": "Red Hat Enterprise Linux", "OL": "Oracle Linux"}


def recognize(volume: Volume, tree: Tree) -> Medium | None:
    found = _by_treeinfo(tree) or _by_label(volume, tree)
    if found is None:
        return None
    if "install.img" not in _lower(tree, "images"):
        why = "is a live medium, whose installer takes no answer file"
        hint = "Give the DVD or netinst ISO of the same release (Fedora: Server or Everything), or its cloud image."
        return replace(found, variant="live").refused(why, hint)
    oldest = next(limit for _, name, limit in _FAMILIES if name == found.distribution)
    if number(found.version) < (oldest,):
        hint = f"Give release {oldest} or newer, or a cloud image."
        return found.refused("is too old: its installer looks for no answer file on a second medium", hint)
    return found


def _by_treeinfo(tree: Tree) -> Medium | None:
    text = tree.read(".treeinfo")
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string((text or b"").decode(errors="replace"))
    except configparser.Error:
        return None
    general = parser["general"] if parser.has_section("general") else {}
    distribution = _distribution(general.get("family", "") or general.get("name", ""))
    if not distribution:
        return None
    version, arch = general.get("version", ""), general.get("arch", "")
    variant = _variant(tree, general.get("variant", "").lower())
    title = general.get("name", "") or f"{general.get('family', '')} {version}"
    return _medium(distribution, version, variant, arch, f"{title} ({arch}, {variant})")


def _by_label(volume: Volume, tree: Tree) -> Medium | None:
    """Media made by lorax alone (netinst, boot.iso, live) have no `.treeinfo`; their label says enough."""
    match = _LABELS.match(volume.id)
    if match is None:
        return None
    distribution = _distribution(_LABEL_FAMILIES.get(match["family"], match["family"]))
    version = match["version"].replace("-", ".")
    if distribution == "fedora":
        version = version.split(".")[0]
    arch = "aarch64" if "aarch64" in volume.id or "bootaa64.efi" in _lower(tree, "EFI/BOOT") else "x86_64"
    variant = _variant(tree, "")
    return _medium(distribution, version, variant, arch, f"{match['family']} {version} ({arch}, {variant})")


def _medium(distribution: str, version: str, variant: str, arch: str, title: str) -> Medium:
    return Medium(
        distribution=distribution,
        version=version,
        variant=variant,
        installer=ANACONDA,
        arch=architecture(arch),
        title=title,
    )


def _variant(tree: Tree, edition: str) -> str:
    """`dvd` brings its packages along; `netinst` takes them from the network."""
    with_packages = {"repodata", "packages", "baseos", "appstream", "minimal"} & _lower(tree, "")
    if "minimal" in with_packages or edition == "minimal":
        return "minimal"
    return "dvd" if with_packages else "netinst"


def _lower(tree: Tree, folder: str) -> set[str]:
    return {name.casefold() for name in tree.names(folder)}


def _distribution(family: str) -> str:
    return next((name for start, name, _ in _FAMILIES if family.startswith(start)), "")
