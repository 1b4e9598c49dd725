"""Following an installer that nobody sits in front of: its progress, its failure in words, its silence, its end.

The end is the machine's own power-off, after the installer has said that it was done.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from goldenpipe_kube import Kube, KubeError
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.cluster import gone, status, watch_one, why_ended
from goldenpipe_steps.kit.console import console_lines
from goldenpipe_steps.kit.errors import Permanent
from goldenpipe_steps.kit.log import duration
from goldenpipe_steps.kit.machine import console_words
from goldenpipe_steps.kit.step import Step

STALL_SECONDS = 900.0
POWEROFF_SECONDS = 600.0
"""How long the machine may run on after the installer was done: it writes back what it holds, and unmounts."""
MOST_BOOTS = 4
"""Kernels that may start during one install: that of the medium, one more for each that is tried again."""
DRAIN_SECONDS = 15.0
"""How long the console's last words may take to arrive after the machine has ended."""
SCREEN_SECONDS = 60.0
"""Between two looks at the screen, which moves where the console is silent."""
LOOK = "`goldenpipe screenshot NAME` shows the last screen"
_SCREENS = 8
"""So many pictures are remembered: a cursor that blinks is no news."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a line of the console means."""

    percent: float | None = None
    words: str = ""
    failure: str = ""
    """What went wrong, if this line says so."""
    hint: str = ""
    settle: float = 10.0
    """Seconds until a failure is told: the lines after it say more, and a machine may yet recover."""
    booted: bool = False
    """A kernel starts, and whatever went wrong before is over."""
    done: bool = False


Reader = Callable[[str], Heard | None]


@dataclass
class Course:
    """How far the install is, as far as it was heard."""

    limits: Limits
    heard_at: float = field(default_factory=time.monotonic)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=60))
    doing: str = "starting"
    failure: Heard | None = None
    fails_at: float = 0.0
    done_at: float | None = None
    boots: int = 0
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    nearer: asyncio.Event = field(default_factory=asyncio.Event)
    """A deadline may have come nearer."""

    def hear(self, line: str, heard: Heard | None) -> None:
        self.heard_at = time.monotonic()
        self.lines.append(line)
        if heard is None:
            return
        if heard.booted:
            self.failure = None
            self.boots += 1
        if heard.failure and self.failure is None:
            self.failure, self.fails_at = heard, self.heard_at + heard.settle
        if heard.failure or heard.booted or heard.done:
            self.nearer.set()
        if heard.words:
            self.doing = heard.words
        if heard.done and self.done_at is None:
            self.done_at = self.heard_at

    def next_deadline(self) -> float:
        """Seconds until something is overdue."""
        if self.boots > MOST_BOOTS:
            return 0.0
        moments = [self.heard_at + self.limits.stall]
        if self.failure:
            moments.append(self.fails_at)
        if self.done_at is not None:
            moments.append(self.done_at + self.limits.poweroff)
        return max(0.0, min(moments) - time.monotonic())

    def check(self) -> None:
        """Raise what is overdue."""
        now = time.monotonic()
        if self.boots > MOST_BOOTS:
            hint = f"It reboots where it ought to go on, or to power off; {LOOK}."
            raise self._failed(f"the machine has booted {self.boots} times, and the installer is not done", hint)
        stalled = now >= self.heard_at + self.limits.stall
        if self.failure and (stalled or now >= self.fails_at):
            raise self._failed(self.failure.failure, self.failure.hint)
        if self.done_at is not None and now >= self.done_at + self.limits.poweroff:
            limit = duration(self.limits.poweroff)
            hint = f"The answer file must power the machine off, not reboot it; {LOOK}."
            raise self._failed(f"the installer was done, but the machine did not power off within {limit}", hint)
        if stalled:
            message = f"the installer has neither said nor shown anything for {duration(self.limits.stall)}"
            hint = f"{LOOK}; a slow installer needs a larger install_stall_seconds (docs/settings.md)."
            raise self._failed(f"{message}; it was at: {self.doing}", hint)

    def judge(self, vmi: Object) -> None:
        """What the machine's end means."""
        if status(vmi).get("phase") == "Failed":
            reason = why_ended(vmi) or "no reason given"
            raise self._failed(f"the machine failed during the install: {reason}", "Nothing of the disk can be used.")
        if self.done_at is not None:
            return
        if self.failure:
            raise self._failed(self.failure.failure, self.failure.hint)
        message = f"the machine powered off before the installer had said that it was done; it was at: {self.doing}"
        raise self._failed(
            message, "The console's last lines may tell why; an answer file of your own must say it too."
        )

    def _failed(self, message: str, hint: str) -> Permanent:
        return Permanent(f"{message}{console_words(list(self.lines)[-6:])}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds."""

    stall: float = STALL_SECONDS
    poweroff: float = POWEROFF_SECONDS


async def follow_install(step: Step, kube: Kube, vmi: Object, read: Reader, limits: Limits) -> None:
    """Return when the machine has powered off after a whole install; raise `Permanent` for anything else."""
    name, uid = vmi["metadata"]["name"], vmi["metadata"]["uid"]
    course = Course(limits)
    end = asyncio.create_task(_end_of(kube, name, uid))
    listen = asyncio.create_task(_listen(step, kube, uid, read, course))
    watch = asyncio.create_task(_watch_screen(kube, name, course))
    try:
        while not end.done():
            await _first({end, listen}, course)
            if listen.done():
                listen.result()
            if not end.done():
                course.check()
        course.caught_up.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await course.caught_up.wait()
        course.judge(end.result())
    finally:
        for task in (end, listen, watch):
            task.cancel()
        await asyncio.gather(end, listen, watch, return_exceptions=True)


async def _first(tasks: set[asyncio.Task[Any]], course: Course) -> None:
    """Until one of these is done, a deadline is reached, or there is a nearer one."""
    course.nearer.clear()
    nearer = asyncio.create_task(course.nearer.wait())
    try:
        await asyncio.wait({*tasks, nearer}, timeout=course.next_deadline(), return_when=asyncio.FIRST_COMPLETED)
    finally:
        nearer.cancel()


async def _listen(step: Step, kube: Kube, uid: str, read: Reader, course: Course) -> None:
    """Never returns."""
    async with aclosing(console_lines(kube, uid)) as lines:
        async for line in lines:
            if line is None:
                course.caught_up.set()
                continue
            heard = read(line)
            course.hear(line, heard)
            if heard and heard.percent is not None:
                step.progress(heard.percent, heard.words or course.doing)
            elif heard and heard.failure:
                step.say(f"The console says: {line[:300]}")


async def _end_of(kube: Kube, name: str, uid: str) -> Object:
    """The VMI once it is final."""
    async with aclosing(watch_one(kube, "VirtualMachineInstance", name)) as states:
        async for vmi in states:
            if vmi is None or vmi["metadata"]["uid"] != uid or vmi["metadata"].get("deletionTimestamp"):
                raise gone("VirtualMachineInstance", name)
            if status(vmi).get("phase") in ("Succeeded", "Failed"):
                return vmi
    message = "the watch ended"
    raise AssertionError(message)


async def _watch_screen(kube: Kube, name: str, course: Course) -> None:
    """Never returns; a picture that was not seen lately counts as a sign of life."""
    seen: deque[str] = deque(maxlen=_SCREENS)
    while True:
        await asyncio.sleep(min(SCREEN_SECONDS, course.limits.stall / 4))
        with suppress(KubeError):
            digest = hashlib.sha256(await kube.screenshot(name)).hexdigest()
            if digest not in seen:
                course.heard_at = time.monotonic()
            seen.append(digest)
