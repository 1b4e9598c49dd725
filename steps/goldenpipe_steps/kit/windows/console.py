"""What a Windows machine has on its serial console: the firmware's words, and what the build's own commands write."""

from __future__ import annotations

import re
from dataclasses import replace

from goldenpipe_steps.kit.installing import LOOK, Heard

_MARK = re.compile(r"goldenpipe: (?:failed: (?P<failure>.+)|(?P<percent>\d{1,3}) (?P<words>.+))")
"""As the answer file's commands, the first logon and the seal write it."""
FIRST_MARK = "Windows Setup has started"
NO_SETUP_SECONDS = 300.0
"""Setup is read from a CD until its first command runs; if it is not heard by then, the firmware's words count."""
_PREPARE = f"Is it an installer ISO of Windows for x64? prepare_iso makes it boot without a key; {LOOK}."
_FIRMWARE = (
    (re.compile(r"Press any key to boot from CD or DVD"), "the ISO waits for a key to be pressed, and nobody does"),
    (re.compile(r"UEFI Interactive Shell|^Shell> "), "the firmware found nothing to boot and is in its shell"),
    (re.compile(r"No bootable (option|device)|failed to load Boot\d+ .*(DVD|CD)"), "the firmware cannot boot the ISO"),
)


def mark_of(line: str) -> Heard | None:
    """What one of our own commands tells; None for a line of anybody else."""
    found = _MARK.search(line)
    if found is None:
        return None
    if found["failure"]:
        hint = rf"These are the guest's own words; C:\ProgramData\goldenpipe\first-logon.log in it has more; {LOOK}."
        return Heard(failure=found["failure"], hint=hint, settle=1.0)
    booted = found["words"].startswith(FIRST_MARK)
    return Heard(percent=float(found["percent"]), words=found["words"], booted=booted)


def hear_setup(line: str, *, patience: float = NO_SETUP_SECONDS) -> Heard | None:
    """What a line means while Windows is installed."""
    if mark := mark_of(line):
        return (
            replace(mark, failure=f"setting up Windows failed in the guest: {mark.failure}") if mark.failure else mark
        )
    for text, words in _FIRMWARE:
        if text.search(line):
            return Heard(failure=f"Windows Setup did not start: {words}", hint=_PREPARE, settle=patience)
    return None
