"""Installs packages in a Windows guest: by Chocolatey or winget where it has one, or an .msi or .exe from its URL.

A URL ends with its checksum, `#sha256=…`, and for an .exe with the arguments that make it silent, `&args=…`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from goldenpipe_steps.kit.errors import Permanent, StepError, Temporary
from goldenpipe_steps.kit.guest import Facts as NameFacts
from goldenpipe_steps.kit.jobs import End, Ended
from goldenpipe_steps.kit.log import some
from goldenpipe_steps.kit.names import translate
from goldenpipe_steps.kit.report import Report
from goldenpipe_steps.kit.step import Step
from goldenpipe_steps.kit.windows.guest import Facts, Guest, known_cause, open_guest
from goldenpipe_steps.kit.windows.jobs import Job, run_job
from goldenpipe_steps.kit.windows.powershell import program
from goldenpipe_steps.programs.windows.run_scripts import REBOOT_SECONDS, RESTART_BEGUN, RESTART_NEEDED

MOST_RUNS = 3
WINGET_NOT_FOUND = -1978335212
_WINGET_FINE = (-1978335189, -1978335135, -1978334963)
"""No newer version to upgrade to, and already installed, told by winget or by the installer."""
_WINGET_RESTART = (-1978334967,)
"""A restart is needed to finish; all codes are in winget-cli, doc/windows/package-manager/winget/returnCodes.md."""


@dataclass
class _Output:
    """What the job said: lines for people, records for the step."""

    step: Step
    lines: list[str] = field(default_factory=list)
    trouble: str = ""

    def line(self, text: str) -> None:
        self.step.say(text)
        self.lines = [*self.lines[-19:], text]

    def record(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word.isdigit():
            self.step.progress(float(word), rest)
        else:
            self.trouble = text


async def run(step: Step) -> Report:
    asked = list(dict.fromkeys(step.params.strings("packages")))
    if not asked:
        return step.done("There are no packages to install", packages=0)
    async with open_guest(step) as guest:
        items = [item for package in asked for item in _items(package, step.params.get("names", dict, {}), guest.facts)]
        given = {
            "items": items,
            "chocolatey": guest.facts.chocolatey,
            "winget": guest.facts.winget,
            "fine": [0, *_WINGET_FINE],
            "restart": [RESTART_NEEDED, RESTART_BEGUN, *_WINGET_RESTART],
        }
        text = program("install_packages", given)
        job = Job(key=f"install_packages-{hashlib.sha256(text).hexdigest()[:12]}", program=text)
        if guest.is_done(job.key):
            return step.done(f"{some(asked)}: already done", packages=len(asked))
        await _install(step, guest, job)
    return step.done(f"Installed {some(_titles(asked))}", packages=len(asked), installed=len(items))


async def _install(step: Step, guest: Guest, job: Job) -> None:
    limit = step.params.seconds("reboot_timeout_seconds", REBOOT_SECONDS)
    for _ in range(MOST_RUNS):
        output = _Output(step)
        ended = await run_job(guest, job, output.line, reboot_seconds=limit, on_record=output.record)
        boot = guest.facts.boot
        if ended.end is End.EXITED and ended.code in (0, RESTART_NEEDED):
            await guest.run("mark", {"key": job.key}, check="noting that the packages are installed")
            if ended.code:
                step.say("An installer asks for a restart.")
                await guest.reboot(limit)
            return
        if ended.end is End.EXITED:
            raise _failed(ended, output)
        if ended.end is End.STOPPING:
            await guest.wait_for_reboot(limit, boot)
        await guest.run("forget", {"key": job.key}, check="starting the install afresh")
        step.say("The install was interrupted in the guest; it goes on with what is left.")
    message = f"the install was interrupted {MOST_RUNS} times, by a restart or for want of memory"
    raise Permanent(message, hint="Give the VM more memory; see which installer restarts the guest.")


def _items(asked: str, table: dict[str, Any], facts: Facts) -> list[dict[str, Any]]:
    if "://" in asked:
        return [_installer(asked)]
    manager = "chocolatey" if facts.chocolatey else "winget" if facts.winget else ""
    if not manager:
        message = f"the guest has neither winget nor Chocolatey to install {asked} with ({facts.title})"
        hint = "Name an .msi or .exe by its URL with #sha256=…, or install the manager into the base by a script."
        raise Permanent(message, hint=hint)
    here = NameFacts(
        os_id=manager,
        os_like=("windows",),
        os_version="",
        os_name=f"{facts.title} with {manager}",
        kernel=facts.version,
        manager=manager,
        boot=facts.boot,
        done=facts.done,
    )
    names = [name for wish in translate([asked], table, here) for name in wish.names]
    return [_named(name, asked, manager) for name in names]


def _named(wanted: str, asked: str, manager: str) -> dict[str, Any]:
    name, _, version = wanted.partition("=")
    return {"kind": manager, "asked": asked, "name": name, "version": version, "key": _key(manager, wanted)}


def _installer(asked: str) -> dict[str, Any]:
    """The parts of a URL that the service has checked."""
    url = urlsplit(asked)
    fields = dict(part.partition("=")[::2] for part in url.fragment.split("&"))
    kind = url.path.lower().rpartition(".")[2]
    digest = fields.get("sha256", "").lower()
    return {
        "kind": kind,
        "asked": _title(asked),
        "url": urlunsplit(url._replace(fragment="")),
        "sha256": digest,
        "file": f"{digest[:16]}.{kind}",
        "arguments": unquote(fields.get("args", "")),
        "key": _key(kind, asked),
    }


def _key(kind: str, wanted: str) -> str:
    return f"package-{kind}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def _titles(asked: list[str]) -> list[str]:
    return [_title(package) for package in asked]


def _title(asked: str) -> str:
    """A URL by its file's name: its query may hold what is not for every reader of the log."""
    return unquote(urlsplit(asked).path.rpartition("/")[2]) if "://" in asked else asked


def _failed(ended: Ended, output: _Output) -> StepError:
    last = [line.strip() for line in output.lines if line.strip()][-3:]
    words = " / ".join(last) or "nothing was said"
    kind, _, rest = output.trouble.partition(" ")
    if cause := known_cause("\n".join(output.lines)):
        return Permanent(f"installing packages failed: {cause.message}", hint=cause.hint)
    if kind == "unreachable":
        message = f"{rest} cannot be downloaded by the guest: {words}"
        return Temporary(
            message, hint="Does the guest's network have a way out, and do its DNS and proxy settings fit?"
        )
    if kind == "checksum":
        name, _, found = rest.rpartition(" ")
        message = f"the checksum of {name} is wrong: the file has sha256 {found}"
        return Permanent(message, hint="Copy the checksum of exactly this file from its publisher.")
    code, _, name = rest.partition(" ")
    if kind == "failed":
        if code == str(WINGET_NOT_FOUND) or "not found with the source" in words:
            message = f"package {name} not found by the guest's package manager"
            hint = "Check the spelling: winget wants the id (Git.Git), Chocolatey its name; or give a URL."
            return Permanent(message, hint=hint)
        return Permanent(f"installing {name} failed with exit code {code}: {words}", hint=_HINT)
    return Permanent(f"installing packages failed with exit code {ended.code}: {words}", hint=_HINT)


_HINT = "The step's log has all that the installer said."
