"""Which installer a medium holds: each family looks for its own files, the first that finds them answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from goldenpipe_steps.kit.iso import debian, microsoft, redhat, suse
from goldenpipe_steps.kit.iso.medium import Medium
from goldenpipe_steps.kit.iso.reading import Tree, Volume

_FAMILIES: tuple[Callable[[Volume, Tree], Medium | None], ...] = (
    microsoft.recognize,
    debian.recognize,
    suse.recognize,
    redhat.recognize,
)


def inspect(volume: Volume, tree: Tree) -> Medium:
    """What the medium is; one that no family knows is refused by its words."""
    for recognize in _FAMILIES:
        if found := recognize(volume, tree):
            return replace(found, firmware=volume.firmware)
    return replace(_unknown(volume, tree), firmware=volume.firmware)


def _unknown(volume: Volume, tree: Tree) -> Medium:
    label = f"an ISO labelled {volume.id!r}" if volume.id else "an ISO without a label"
    top = ", ".join(sorted(tree.names(""))[:6]) or "nothing"
    refusal = f"is no installer that GoldenPipe can drive: its top folder holds {top}"
    hint = (
        "Known are Ubuntu, Debian, RHEL and its relatives, Fedora, openSUSE, SLES and Windows. "
        "Give one of their installer ISOs, or the distribution's cloud image (qcow2), which needs no installer."
    )
    return Medium(distribution="unknown", title=label, refusal=refusal, hint=hint)
