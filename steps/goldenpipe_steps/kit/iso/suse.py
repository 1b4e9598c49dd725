"""Media of openSUSE and SLES: AutoYaST up to 15, Agama from 16 on."""

from __future__ import annotations

import re

from goldenpipe_steps.kit.iso.medium import Medium, architecture, number
from goldenpipe_steps.kit.iso.reading import Tree, Volume

AUTOYAST, AGAMA = "autoyast", "agama"
_NAME = re.compile(
    r"(?P<product>openSUSE-Leap|openSUSE-Tumbleweed|openSUSE|SLES|SLED|SLE)"
    r"(?:-(?P<version>\d+(?:\.\d+)?))?(?:-SP(?P<pack>\d+))?-(?P<rest>.+)"
)
_VARIANTS = {"dvd": "dvd", "full": "dvd", "net": "netinst", "online": "netinst", "installer": "netinst"}
_LIVE = re.compile(r"agama|(SLES|SLE|Leap|openSUSE)\b", re.IGNORECASE)


def recognize(volume: Volume, tree: Tree) -> Medium | None:
    lines = (tree.read("media.1/media", 4096) or b"").decode(errors="replace").split("\n")
    match = next((found for line in [*lines, volume.id] if (found := _NAME.match(line.strip()))), None)
    loader = _loader_architecture(tree)
    if match and loader:
        return _autoyast(match, loader)
    if "squashfs.img" in tree.names("LiveOS") and _LIVE.match(volume.id):
        return _agama(volume)
    return None


def _autoyast(match: re.Match[str], loader: str) -> Medium:
    product, version, pack = match["product"], match["version"] or "", match["pack"]
    if pack:
        version = f"{version}.{pack}"
    if product == "openSUSE-Tumbleweed":
        version = "tumbleweed"
    words = re.split(r"[-_]", match["rest"].lower())
    variant = next((_VARIANTS[word] for word in words if word in _VARIANTS), "dvd")
    arch = next((word for word in words if word.startswith(("aarch", "x86", "ppc", "s390"))), loader)
    arch = "x86_64" if arch == "x86" else arch
    medium = Medium(
        distribution="opensuse" if product.startswith("openSUSE") else "sles",
        version=version,
        variant=variant,
        installer=AUTOYAST,
        arch=architecture(arch),
        title=f"{product.replace('-', ' ')} {version} ({arch}, {variant})",
    )
    if number(version) < (15,):
        return medium.refused("is too old for the answer file here", "Give Leap or SLES 15, or a cloud image.")
    return medium


def _loader_architecture(tree: Tree) -> str:
    """Where YaST's kernel and initrd lie: `boot/<architecture>/loader`."""
    for name in tree.names("boot"):
        if {"linux", "initrd"} <= set(tree.names(f"boot/{name}/loader")) or "root" in tree.names(f"boot/{name}"):
            return name
    return ""


def _agama(volume: Volume) -> Medium:
    medium = Medium(
        distribution="sles" if "SLE" in volume.id else "opensuse",
        installer=AGAMA,
        variant="live",
        title=f"{volume.id} (Agama)",
    )
    why = "installs by Agama, which GoldenPipe has no answer file for yet"
    return medium.refused(why, "Give Leap or SLES 15, whose AutoYaST is automated, or the release's cloud image.")
