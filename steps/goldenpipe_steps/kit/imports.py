"""Following an import into a DataVolume, in words: what it waits for, how far it is, why it failed.

CDI itself takes nothing but a wrong checksum for final. Everything else it tries again for ever, so the ends are here.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from goldenpipe_kube import Kube
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.cluster import condition, gone, status, watch_one
from goldenpipe_steps.kit.errors import Permanent, StepError
from goldenpipe_steps.kit.formats import ISO
from goldenpipe_steps.kit.log import duration, size
from goldenpipe_steps.kit.sources import redacted
from goldenpipe_steps.kit.step import Step

MOST_RESTARTS = 3
"""CDI's importer is started again by itself; after so many times the step gives up."""
PENDING_SECONDS = 900.0
IMPORT_SECONDS = 7200.0
IMMEDIATE = "cdi.kubevirt.io/storage.bind.immediate.requested"
FOR_A_CONSUMER = ("WaitForFirstConsumer", "PendingPopulation")
"""Phases in which CDI waits for the first Pod that uses the disk, as that decides the disk's node."""
_WAITING = ("Pending", "PVCBound", "ImportScheduled", "Paused", "Unknown", *FOR_A_CONSUMER)
_NO_TROUBLE = ("Scratch space required", "Completed")
"""Reasons why CDI's first Pod for an import, and its last, have ended; their messages read like a fault."""
_ENDED = ("Error", "OOMKilled", "ContainerCannotRun", "ContainerStatusUnknown", "Evicted", "StartError")
"""Reasons of the condition Running that tell how the importer's container has ended."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the request says about the base image and its disk, and how long each part may take."""

    url: str
    kind: str
    """disk or iso: what the pipeline was chosen for."""
    os_type: str
    volume: str
    """The DataVolume that it is downloaded into."""
    checksum: str
    size_bytes: int
    storage_size: str
    pending_seconds: float
    import_seconds: float

    @classmethod
    def of(cls, step: Step) -> Wanted:
        params = step.params
        return cls(
            url=params.get("url", str, ""),
            kind=params.get("kind", str, "disk"),
            os_type=params.get("os_type", str, "linux"),
            volume=params.get("volume", str, step.input.disk),
            checksum=params.get("checksum", str, ""),
            size_bytes=params.get("size_bytes", int, 0),
            storage_size=params.get("storage_size", str, ""),
            pending_seconds=params.seconds("pending_timeout_seconds", PENDING_SECONDS),
            import_seconds=params.seconds("import_timeout_seconds", IMPORT_SECONDS),
        )


async def follow_import(
    step: Step, kube: Kube, wanted: Wanted, *, share: tuple[float, float], has_consumer: bool
) -> bool:
    """Return True once the disk is filled; or False where it waits for a consumer, and there is none yet."""
    name = wanted.volume
    seen = _Seen(step=step, wanted=wanted, share=share)
    timer = asyncio.timeout(wanted.pending_seconds)
    async with aclosing(watch_one(kube, "DataVolume", name)) as states:
        try:
            async with timer:
                async for volume in states:
                    if volume is None:
                        if seen.volume:
                            raise gone("DataVolume", name)
                        continue
                    phase = seen.look_at(volume)
                    if phase == "Succeeded":
                        return True
                    if phase in FOR_A_CONSUMER and not has_consumer and not _binds_at_once(volume):
                        return False
                    if error := _trouble(wanted, volume, phase):
                        raise error
                    seen.tell(phase)
                    timer.reschedule(asyncio.get_running_loop().time() + seen.seconds_left(phase))
        except TimeoutError:
            if not timer.expired():
                raise
            raise seen.out_of_time() from None
    message = "the watch ended"
    raise AssertionError(message)


def _binds_at_once(volume: Object) -> bool:
    return IMMEDIATE in (volume["metadata"].get("annotations") or {})


@dataclass
class _Seen:
    """The import as it was seen last, and what has been told of it."""

    step: Step
    wanted: Wanted
    share: tuple[float, float]
    volume: Object = field(default_factory=dict)
    waiting_since: float | None = field(default_factory=time.monotonic)
    importing_since: float | None = None
    last_error: str = ""
    highest: float = -1.0
    told: str = ""

    def look_at(self, volume: Object) -> str:
        """Remember the volume; its phase."""
        self.volume = volume
        phase = str(status(volume).get("phase") or "Pending")
        now = time.monotonic()
        if phase not in _WAITING:
            self.waiting_since = None
            self.importing_since = self.importing_since or now
        elif self.waiting_since is None:
            self.waiting_since = now
        running = condition(volume, "Running")
        if running.get("reason") in _ENDED:
            self.last_error = str(running.get("message") or running["reason"])
        return phase

    def tell(self, phase: str) -> None:
        if (words := _waits_for(self.volume, phase)) and words != self.told:
            self.told = words
            self.step.say(words)
        percent = _percent(self.volume)
        if phase in _WAITING and percent is None:
            self.step.progress(self.share[0], "Preparing the download")
        else:
            low, high = self.share
            self.step.progress(low + (percent or 0) * (high - low) / 100, self._how_far(percent))

    def _how_far(self, percent: float | None) -> str:
        """A retry begins at 0 again: that is told as a retry, and the percentage once it is a new one."""
        words = "Downloading the base image"
        if restarts := _restarts(self.volume):
            words += f" again (restart {restarts})"
        if percent is None or percent < self.highest:
            return words
        self.highest = percent
        return f"{words} ({percent:.0f}%)"

    def seconds_left(self, phase: str) -> float:
        now = time.monotonic()
        ends = []
        if self.importing_since is not None:
            ends.append(self.importing_since + self.wanted.import_seconds)
        if phase in _WAITING and self.waiting_since is not None:
            ends.append(self.waiting_since + self.wanted.pending_seconds)
        return min(ends) - now

    def out_of_time(self) -> Permanent:
        disk, phase = self.wanted.volume, str(status(self.volume).get("phase") or "Pending")
        if self.waiting_since is not None:
            why = _waits_for(self.volume, phase) or f"it is {phase}, and the cluster gives no reason"
            message = f"the import into {disk} did not begin within {duration(self.wanted.pending_seconds)}: {why}"
            return Permanent(message, hint=_what_to_free(why, disk))
        how_far = f"it came to {self.highest:.0f}%" if self.highest >= 0 else "it never told how far it was"
        parts = [how_far, f"restarted {_restarts(self.volume)} times"]
        parts += [f"last error: {self.last_error}"] if self.last_error else []
        limit = duration(self.wanted.import_seconds)
        message = f"the download of {redacted(self.wanted.url)} did not end within {limit}: {', '.join(parts)}"
        hint = "Raise the setting import_timeout_seconds if the server or the storage is merely slow."
        return Permanent(message, hint=hint)


def _restarts(volume: Object) -> int:
    return int(status(volume).get("restartCount") or 0)


def _percent(volume: Object) -> float | None:
    text = str(status(volume).get("progress") or "")
    try:
        return float(text.removesuffix("%")) if text.endswith("%") else None
    except ValueError:
        return None


def _waits_for(volume: Object, phase: str) -> str:
    """Why nothing happens yet: what the claim waits for, and what the importer does."""
    told = []
    for one in (condition(volume, "Bound"), condition(volume, "Running")):
        words = str(one.get("message") or (one.get("reason") in _ENDED and one["reason"]) or "")
        # of a claim that could not be made (ErrExceededQuota, ErrClaimNotValid) CDI says Bound: Unknown
        amiss = one.get("status") == "False" or str(one.get("reason")).startswith("Err")
        if amiss and words and one.get("reason") not in _NO_TROUBLE:
            told.append(words)
    if not told and phase in FOR_A_CONSUMER:
        told.append("the volume is bound once a VM uses it")
    restarts = f" (restarted {_restarts(volume)} times)" if told and _restarts(volume) else ""
    return f"{phase}: {'; '.join(told)}{restarts}" if told else ""


def _what_to_free(why: str, disk: str) -> str:
    """What to do about a disk that never got its volume or its importer."""
    if "quota" in why.lower():
        return "Raise the namespace's quota: while it is imported, a disk needs its size twice (CDI's scratch space)."
    if any(phase in why for phase in FOR_A_CONSUMER):
        return "No VM could use it: kubectl describe vm tells why. Does a node that may run VMs have this storage?"
    look = f"kubectl describe datavolume,pvc {disk} tells more."
    return f"Is there such a storage class, with that access mode, and room for the disk and its scratch space? {look}"


def _trouble(wanted: Wanted, volume: Object, phase: str) -> StepError | None:
    running = condition(volume, "Running")
    message, reason = str(running.get("message") or ""), str(running.get("reason") or "")
    if phase == "Failed":
        return _known(wanted, message, reason) or Permanent(
            f"the download failed: {message or reason or 'no reason given'}"
        )
    if running.get("status") != "False" or reason not in _ENDED:
        return None
    if error := _known(wanted, message, reason):
        return error
    if (restarts := _restarts(volume)) < MOST_RESTARTS:
        return None
    if reason == "OOMKilled":
        hint = "Raise podResourceRequirements in the CDI resource; slow storage makes the importer need more memory."
        return Permanent(f"CDI's importer was killed {restarts} times for lack of memory ({reason})", hint=hint)
    return Permanent(f"the download failed {restarts} times: {message or reason}", hint="Check the URL and its server.")


def _known(wanted: Wanted, message: str, reason: str) -> StepError | None:
    """The failures that trying again does not change."""
    place = redacted(wanted.url)
    if reason == "ChecksumError" or "checksum mismatch" in message:
        found = re.search(r"expected (\S+), (?:calculated|got) (\S+)", message)
        return wrong_checksum(wanted.url, f"expected {found[1]}, got {found[2]}" if found else message)
    if "too small to contain" in message or "larger than" in message:
        return too_small(wanted, None)
    if "No space left on device" in message or "no space left" in message.lower():
        hint = "Free space where the cluster keeps its volumes, then build again."
        return Permanent(f"the download failed: the host's disk is full ({message})", hint=hint)
    if found := re.search(r"got (4(?!08|25|29)\d\d)|\b(40[134]|410)\b [A-Z]", message):
        hint = "Check the URL: distributions move their images when a release gets older."
        return Permanent(f"{place} answers {found[1] or found[2]}: {message}", hint=hint)
    if "format" in message.lower() and ("unknown" in message.lower() or "unsupported" in message.lower()):
        return Permanent(f"{place} is not a disk image: {message}")
    return None


def wrong_checksum(url: str, words: str) -> Permanent:
    hint = "Copy the checksum of exactly this file from the distribution's SHA256SUMS; it may be of another date."
    return Permanent(f"the checksum of {redacted(url)} is wrong: {words}", hint=hint)


def too_small(wanted: Wanted, virtual_size: int | None) -> Permanent:
    if wanted.kind == ISO:
        message = f"the ISO {urlsplit(wanted.url).path.rpartition('/')[2]} is larger than the volume for it"
        return Permanent(message, hint="Raise the setting iso_size, or let the service look (look_at_base_image).")
    disk = f"of {size(virtual_size)} " if virtual_size else ""
    asked = wanted.storage_size or size(wanted.size_bytes)
    name = urlsplit(wanted.url).path.rpartition("/")[2]
    message = f"the disk {disk}in {name} is larger than storage_size {asked}"
    least = f" of at least {-(-virtual_size // 2**30)}Gi" if virtual_size else " that is larger"
    return Permanent(message, hint=f"Give a storage_size{least}.")
