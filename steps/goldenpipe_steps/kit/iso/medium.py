"""What an installer ISO is, and the words with which one that cannot be automated is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

from goldenpipe_steps.kit.errors import Permanent

ARCHITECTURE = "amd64"
"""What build VMs are."""
_SAME = {"x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "aa64": "arm64", "i586": "i386", "i686": "i386"}


@dataclass(frozen=True, kw_only=True)
class Medium:
    """An installer ISO, told from its own files. What cannot be installed from says so in `refusal`."""

    distribution: str
    version: str = ""
    variant: str = ""
    installer: str = ""
    arch: str = ""
    title: str = ""
    firmware: tuple[str, ...] = ()
    refusal: str = ""
    hint: str = ""

    def refused(self, why: str, hint: str) -> Medium:
        return replace(self, refusal=why, hint=hint)

    @property
    def os_type(self) -> str:
        return "windows" if self.distribution == "windows" else "linux"

    def facts(self) -> dict[str, str]:
        """What later steps and their templates want to know."""
        return {
            "iso_distribution": self.distribution,
            "iso_version": self.version,
            "iso_variant": self.variant,
            "iso_installer": self.installer,
            "iso_arch": self.arch,
            "iso_title": self.title,
            "iso_firmware": ",".join(self.firmware),
        }


def architecture(word: str) -> str:
    """Debian's name of it."""
    return _SAME.get(word.lower(), word.lower())


def number(version: str) -> tuple[int, ...]:
    """`22.04.3` as numbers to compare; words count as newer than any number."""
    parts = version.split(".")
    return tuple(int(part) if part.isdigit() else 9999 for part in parts) if version else ()


def refuse_unfit(medium: Medium, os_type: str) -> None:
    """Raise `Permanent` with the sentence and the way out, if this medium cannot be installed from."""
    title = medium.title or "this ISO"
    if medium.os_type != os_type:
        message = f"the ISO is {title}, and the request says os_type: {os_type}"
        raise Permanent(message, hint=f"Send the request with os_type: {medium.os_type}, or name another ISO.")
    if medium.refusal:
        raise Permanent(f"{title} {medium.refusal}", hint=medium.hint)
    if medium.arch and medium.arch != ARCHITECTURE:
        message = f"{title} is for {medium.arch}, and build VMs are {ARCHITECTURE}"
        raise Permanent(message, hint=f"Give the same release's ISO for {ARCHITECTURE} (x86_64).")
    if not medium.firmware:
        message = f"{title} is not bootable: it has no El Torito boot record for BIOS or UEFI"
        raise Permanent(message, hint="Give the distribution's bootable installer ISO, not a source or add-on medium.")
