"""Media of Windows: Setup reads `autounattend.xml` from any medium by itself."""

from __future__ import annotations

from goldenpipe_steps.kit.iso.medium import Medium
from goldenpipe_steps.kit.iso.reading import Tree, Volume

WINDOWS_SETUP = "windows-setup"
_LOADERS = {"bootx64.efi": "amd64", "bootaa64.efi": "arm64", "bootia32.efi": "i386"}


def recognize(volume: Volume, tree: Tree) -> Medium | None:
    sources = {name.casefold() for name in tree.names("sources")}
    if "boot.wim" not in sources and not sources & {"install.wim", "install.esd", "install.swm"}:
        return None
    loaders = {name.casefold() for name in tree.names("efi/boot")}
    arch = next((name for loader, name in _LOADERS.items() if loader in loaders), "i386")
    medium = Medium(
        distribution="windows", installer=WINDOWS_SETUP, arch=arch, title=f"Windows ({volume.id or 'no label'}, {arch})"
    )
    if "boot.wim" not in sources:
        hint = "Give the ISO that Microsoft offers for download, with sources/boot.wim on it."
        return medium.refused("has no Windows Setup on it (sources/boot.wim is missing)", hint)
    if not sources & {"install.wim", "install.esd", "install.swm"}:
        hint = "Give the full ISO; a recovery or repair medium holds no Windows to install."
        return medium.refused("holds no Windows to install (sources/install.wim is missing)", hint)
    return medium
