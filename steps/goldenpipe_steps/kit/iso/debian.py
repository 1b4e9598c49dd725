"""Media of Debian and Ubuntu: `.disk/info` says what they are, their folders which installer they hold."""

from __future__ import annotations

import re
from dataclasses import replace

from goldenpipe_steps.kit.iso.medium import Medium, architecture, number
from goldenpipe_steps.kit.iso.reading import Tree, Volume

SUBIQUITY, DEBIAN_INSTALLER = "subiquity", "debian-installer"
_INFO = re.compile(r'(?P<name>.+?)[ -](?P<version>\d[\w.]*|testing|unstable)\b[^"]*(?:"(?P<code>[^"]*)")?(?P<rest>.*)')
_ARCHITECTURES = ("amd64", "arm64", "i386", "armhf", "ppc64el", "riscv64", "s390x", "x86_64", "aarch64")
_VARIANTS = ("netinst", "dvd", "cd", "bd", "mini")
_CLOUD_IMAGES = {
    "ubuntu": "https://cloud-images.ubuntu.com",
    "debian": "https://cloud.debian.org/images/cloud",
}


def recognize(_volume: Volume, tree: Tree) -> Medium | None:
    text = tree.read(".disk/info", 4096) or tree.read(".disk/mini-info", 4096)
    if not text:
        return None
    title = " ".join(text.decode(errors="replace").split())
    match = _INFO.match(title.removeprefix("Official "))
    name = match["name"] if match else title
    words = re.split(r"[\s()/_]+", (match["rest"] if match else title).lower())
    medium = Medium(
        distribution=_distribution(name),
        version=match["version"] if match else "",
        arch=architecture(next((word for word in words if word in _ARCHITECTURES), "")),
        title=title,
    )
    if tree.names("casper"):
        return _casper(medium, name, tree)
    if _has_debian_installer(tree) and not tree.names("live"):
        return _debian_installer(medium, tree, words)
    return _live(medium, tree)


def _distribution(name: str) -> str:
    """As the ID in /etc/os-release of what it installs; flavours of Ubuntu are Ubuntu."""
    if re.search(r"ubuntu", name, re.IGNORECASE):
        return "ubuntu"
    return "debian" if name.startswith("Debian") else re.sub(r"[^a-z0-9]+", "-", name.lower().split(" gnu/")[0])


def _casper(medium: Medium, name: str, tree: Tree) -> Medium:
    """Ubuntu's live media: the server installs by subiquity since 18.04, desktops since 23.04."""
    server = "server" in name.lower()
    variant = "server" if server else "desktop"
    found = replace(medium, variant=variant, installer=SUBIQUITY)
    if server and medium.distribution == "ubuntu":
        if number(medium.version) >= (20, 4):
            return found
        why = "cannot be installed unattended: its installer learned autoinstall with 20.04"
        return found.refused(why, "Give the live-server ISO of Ubuntu 20.04 or newer, or the release's cloud image.")
    if "install-sources.yaml" in tree.names("casper"):
        return found
    why = "cannot be installed unattended: desktop media before Ubuntu 23.04 have no autoinstall"
    if medium.distribution != "ubuntu":
        why = "cannot be installed unattended: its live installer takes no answer file"
    server_iso = f"ubuntu-{medium.version}-live-server-amd64.iso" if medium.distribution == "ubuntu" else "Ubuntu's"
    hint = (
        f"Give the live-server ISO ({server_iso}) and the package ubuntu-desktop, a desktop ISO of 23.04 or newer, "
        f"or the cloud image from {_CLOUD_IMAGES['ubuntu']}."
    )
    return replace(found, installer="ubiquity").refused(why, hint)


def _has_debian_installer(tree: Tree) -> bool:
    """By its folder on netinst, CD and DVD; by kernel and initrd in the top folder on mini.iso."""
    top = {name.casefold() for name in tree.names("")}
    return bool(top & {"install.amd", "install.a64", "install.386", "install"}) or {"linux", "initrd.gz"} <= top


def _debian_installer(medium: Medium, tree: Tree, words: list[str]) -> Medium:
    top = {name.casefold() for name in tree.names("")}
    variant = next((name for name in _VARIANTS if name in words), "")
    if not top & {"pool", "dists"}:
        variant = "netboot"
    return replace(medium, variant=variant or "cd", installer=DEBIAN_INSTALLER)


def _live(medium: Medium, tree: Tree) -> Medium:
    live = bool(tree.names("live"))
    why = "is a live medium, which installs nothing by itself" if live else "holds no installer"
    cloud = _CLOUD_IMAGES.get(medium.distribution, "the distribution")
    hint = f"Give the netinst or DVD ISO of the same release, or its cloud image (qcow2) from {cloud}."
    return replace(medium, variant="live" if live else "").refused(why, hint)
