"""What installers write to the serial console, one reader each: how far they are, and what went wrong.

Only what tells is read; an installer that words it differently still ends by the marks that every answer file writes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from goldenpipe_steps.kit.installing import LOOK, Heard

DONE = "goldenpipe: installed"
_FAILED = re.compile(r"goldenpipe: failed: (?P<words>.+)")
_BOOTED = re.compile(r"^(?:\[ *\d+\.\d+\] ?)?Linux version \d")
"""As the kernel writes it; where a log of it is repeated, a date comes first."""
_ANSWERS = "Change the answer file in an overlay (docs/installers.md)"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A text that means failure; `{0}` in the words is what it matched, `{1}` its first group."""

    text: re.Pattern[str]
    words: str
    hint: str = f"{LOOK}."
    settle: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A text that means progress. Further texts of the same stage creep from its percent towards `until`."""

    text: re.Pattern[str]
    words: str
    percent: float
    until: float | None = None


@dataclass
class Reader:
    """Reads one installer's console."""

    faults: Iterable[Fault]
    stages: Iterable[Stage]
    creeps: re.Pattern[str] | None = None
    """A text that comes hundreds of times: each one is a little progress within the stage."""
    _stage: Stage | None = None
    _crept: int = 0
    _known: tuple[Fault, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._known = (*_COMMON, *self.faults)

    def __call__(self, line: str) -> Heard | None:
        if DONE in line:
            return Heard(percent=97, words="The installer is done; waiting for the power-off", done=True)
        if found := _FAILED.search(line):
            return Heard(failure=f"the installer failed: {found['words']}", hint=f"{LOOK}. {_ANSWERS}.")
        if _BOOTED.search(line):
            return Heard(percent=1, words="The installer's kernel boots", booted=True)
        for fault in self._known:
            if match := fault.text.search(line):
                words = fault.words.format(match[0], *match.groups(""))
                return Heard(failure=words, hint=fault.hint, settle=fault.settle)
        return self._progress(line)

    def _progress(self, line: str) -> Heard | None:
        for stage in self.stages:
            if match := stage.text.search(line):
                if stage is not self._stage:
                    self._stage, self._crept = stage, 0
                return Heard(percent=self._percent(), words=stage.words.format(match[0], *match.groups("")))
        if self._stage and self.creeps and self.creeps.search(line):
            self._crept += 1
            return Heard(percent=self._percent())
        return None

    def _percent(self) -> float:
        assert self._stage is not None
        if self._stage.until is None:
            return self._stage.percent
        return self._stage.percent + (self._stage.until - self._stage.percent) * (1 - math.exp(-self._crept / 200))


def reader_for(installer: str) -> Reader | None:
    """The reader of an installer; None for one that nothing is known of."""
    make = _READERS.get(installer)
    return make() if make else None


def _fault(text: str, words: str, hint: str = f"{LOOK}.", *, settle: float = 10.0) -> Fault:
    return Fault(text=re.compile(text), words=words, hint=hint, settle=settle)


def _stage(text: str, words: str, percent: float, until: float | None = None) -> Stage:
    return Stage(text=re.compile(text), words=words, percent=percent, until=until)


_COMMON = (
    _fault(
        r"Kernel panic - not syncing.*",
        "the kernel panicked: {0}",
        "More memory (2Gi at least) or a single CPU may help; else the ISO and this machine type do not go together.",
        settle=45,
    ),
    _fault(
        r"Entering emergency mode|You are in emergency mode|Press Enter for maintenance|^dracut:/#",
        "the installer's system fell into an emergency shell",
        f"Its medium or its network was not found; the lines above it tell more, and {LOOK}.",
    ),
    _fault(
        r"UEFI Interactive Shell|^Shell>|No bootable option or device was found",
        "the UEFI firmware found nothing to boot",
        "Does the ISO boot by UEFI on x86_64? Without a preference that asks for UEFI, build VMs boot by BIOS.",
        settle=60,
    ),
    _fault(
        r"No bootable device|Nothing to boot",
        "the BIOS found nothing to boot",
        "Does the ISO boot by BIOS? A preference that asks for UEFI makes the build VM boot by UEFI.",
        settle=60,
    ),
    _fault(
        r">>Start PXE over|iPXE initialising devices",
        "the firmware tries the network: it found nothing to boot on the ISO",
        "Does the ISO boot on this firmware (BIOS or UEFI)?",
        settle=120,
    ),
)
_DEBIAN_DIALOGS = (
    *("Installation step failed", "No root file system", "Bad archive mirror", "Debootstrap Error"),
    *("Base system installation error", "No installable kernel was found", "No kernel modules were found"),
    *("Unable to install GRUB", "GRUB installation failed", "Unable to install the selected kernel"),
    *("Failed to determine the codename", "Downloading a file failed", "Network autoconfiguration failed"),
    *("No network interfaces detected", "No disk drive was detected", "No partitionable media"),
    *("Failed to partition the selected disk", "Failed to create a file system", "Invalid release file"),
    *("Failed to run preseeded command", "Failed to process the preconfiguration file"),
    *("Failed to retrieve the preconfiguration file", "Detect and mount installation media"),
    *("Installation media couldn't be mounted", "Cannot access repository", "Low memory mode"),
)


def _debian_installer() -> Reader:
    item = r"main-menu\[\d+\]: .*Menu item '{}' selected"
    stages = (
        (r"(?:localechooser|brltty-udeb)", "The installer starts", 3, None),
        (r"(?:ethdetect|netcfg|network-preseed)", "Setting up the network", 5, None),
        (r"(?:cdrom-detect|load-cdrom|choose-mirror)", "Finding the packages", 8, None),
        (r"download-installer", "Loading the installer's components", 10, 14),
        (r"(?:disk-detect|user-setup-udeb|clock-setup)", "Looking at the disk", 14, None),
        (r"partman-base", "Partitioning the disk", 16, None),
        (r"bootstrap-base", "Installing the base system", 20, 62),
        (r"apt-setup-udeb", "Setting up apt", 64, 66),
        (r"pkgsel", "Installing packages", 66, 88),
        (r"grub-installer", "Installing GRUB", 89, 93),
        (r"finish-install", "Finishing the installation", 94, 96),
    )
    dialogs = "|".join(map(re.escape, _DEBIAN_DIALOGS))
    hint = f"The installer's own words are in the console's last lines; {LOOK}. {_ANSWERS}."
    return Reader(
        faults=(
            _fault(rf"^(?:!! ERROR: |\[!!\] )?({dialogs})", "Debian's installer stopped: {1}", hint),
            _fault(
                r"^(?:Prompt: '\?' for help|Root password:|Full name for the new user:|Username for your account:)",
                "Debian's installer asks something that the answer file does not answer",
                hint,
                settle=20,
            ),
        ),
        stages=[_stage(item.format(name), words, percent, until) for name, words, percent, until in stages],
        creeps=re.compile(r"\b(?:debootstrap|in-target|anna|base-installer|apt-install|grub-installer)(?:\[\d+\])?: "),
    )


def _anaconda() -> Reader:
    return Reader(
        faults=(
            _fault(r"Pane is dead", "Anaconda crashed"),
            _fault(r"An unknown error has occurred|anaconda: .*Traceback|Traceback \(most recent", "Anaconda crashed"),
            _fault(
                r"There was an error running the kickstart script.*", "Anaconda stopped: {0}", f"{LOOK}. {_ANSWERS}."
            ),
            _fault(r"(?:Kickstart|kickstart) (?:parsing )?error.*", "the kickstart was refused: {0}", f"{_ANSWERS}."),
            _fault(
                r"(?:Failed to set up|Error setting up) (?:the )?(?:(?:installation|software) source|base repo\w*).*",
                "Anaconda found no packages: {0}",
                "A netinst ISO needs a mirror: set install_mirrors (docs/settings.md), or give the DVD ISO.",
            ),
            _fault(
                r"Would you like to ignore this and continue|Question: .*\byes\b.*\bno\b",
                "Anaconda asks something that the kickstart does not answer",
                f"{LOOK}. {_ANSWERS}.",
            ),
            _fault(r"dracut-initqueue.*timeout.*starting timeout scripts", "the installer's medium was not found"),
        ),
        stages=(
            _stage(r"anaconda.*(?:started|version \d)|Starting installer", "Anaconda starts", 5),
            _stage(r"[Pp]rocessing (?:the )?kickstart|Running pre-installation scripts", "Reading the kickstart", 8),
            _stage(r"Configuring storage|Creating (?:disklabel|\w+) on /dev/vda", "Partitioning the disk", 14),
            _stage(r"Downloading package metadata|Setting up the .*(?:source|repositor)", "Finding the packages", 18),
            _stage(r"Starting package installation|Preparing transaction", "Installing packages", 25, 80),
            _stage(r"Installing (\S+) \((\d+)/(\d+)\)", "Installing packages ({2} of {3})", 25, 80),
            _stage(r"Configuring kernel|[Ii]nstalling (?:the )?boot ?loader", "Installing the boot loader", 86),
            _stage(r"[Pp]ost-installation setup", "Setting up the installed system", 90),
            _stage(r"[Rr]unning post-installation scripts", "Finishing the installation", 94),
        ),
        creeps=re.compile(r"Installing|installing|Configuring \S+\.(?:x86_64|noarch)|Added: "),
    )


def _subiquity() -> Reader:
    return Reader(
        faults=(
            _fault(
                r"Continue with autoinstall\? \(yes\|no\)",
                "subiquity asks whether it may erase the disk",
                "The word autoinstall is missing on the kernel command line; the step prepare_iso puts it there.",
            ),
            _fault(
                r"An error occurred\. Press enter to start a shell|[Ii]nstall(?:ation)? failed|install_fail",
                "subiquity stopped with an error",
                f"The lines above it tell more; {LOOK}. {_ANSWERS}.",
            ),
            _fault(r"finish: (subiquity/\S+): FAIL.*", "subiquity failed at {1}", f"{LOOK}. {_ANSWERS}."),
            _fault(
                r"Malformed autoinstall.*|[Aa]utoinstall validation (?:failed|error).*",
                "the answer file was refused: {0}",
                f"{_ANSWERS}.",
            ),
            _fault(r"Unable to find a (?:live file system|medium containing a live).*", "{0}"),
        ),
        stages=(
            _stage(r"cloud-init.*running 'modules:final'|subiquity/Early/run", "The installer starts", 5),
            _stage(r"subiquity/(?:Network|Mirror|Locale|Refresh)/", "Finding the packages", 10),
            _stage(r"subiquity/Filesystem/|curtin command block-meta|configuring partition", "Partitioning", 15),
            _stage(r"curtin command extract|acquiring and extracting image", "Copying the system", 22, 45),
            _stage(r"curtin command in-?curthooks|curtin command curthooks", "Setting up the system", 46, 70),
            _stage(
                r"installing kernel|curtin command install-kernel|curthooks/installing-kernel", "The kernel", 60, 70
            ),
            _stage(r"install-grub|configuring target system bootloader", "Installing the boot loader", 72),
            _stage(r"final system configuration|install_openssh-server|install_\S+", "Installing packages", 76, 84),
            _stage(r"security updates|run_unattended_upgrades", "Installing security updates", 85, 93),
            _stage(r"subiquity/Late/run", "Finishing the installation", 94),
        ),
        creeps=re.compile(r"\b(?:start|finish): |Setting up |Unpacking |Selecting "),
    )


def _autoyast() -> Reader:
    return Reader(
        faults=(
            _fault(
                r"(?:Could not find|No) .*(?:[Rr]epository|installation source).*found|No repository found.*",
                "the installer found no packages: {0}",
            ),
            _fault(r"Internal error\.? Please report|YaST got signal \d+.*", "YaST crashed: {0}"),
            _fault(r"linuxrc .*Main Menu|^Main Menu", "the installer stopped in its own menu: it found no medium"),
            _fault(r"AutoYaST.*(?:profile|control file).*(?:invalid|not valid|error).*", "{0}", f"{_ANSWERS}."),
        ),
        stages=(
            _stage(r"Starting (?:hardware detection|Installer|YaST)|linuxrc \d", "The installer starts", 5),
            _stage(r"inst_autosetup|autoinst", "Reading the answer file", 10),
            _stage(r"inst_prepdisk|Preparing disks|Creating (?:partition|file system)", "Partitioning the disk", 15),
            _stage(r"inst_kickoff|inst_rpmcopy|Starting package installation", "Installing packages", 20, 84),
            _stage(r"inst_finish|bootloader_finish", "Finishing the installation", 86, 94),
            _stage(r"chroot[- ]scripts", "Setting up the installed system", 95),
        ),
        creeps=re.compile(r"Package|package|rpm|RPM|_finish"),
    )


_READERS = {
    "debian-installer": _debian_installer,
    "anaconda": _anaconda,
    "subiquity": _subiquity,
    "autoyast": _autoyast,
}
