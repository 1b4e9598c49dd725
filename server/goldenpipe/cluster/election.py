"""Standing by, leading, standing by again: the calls behind the Lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NoReturn

from goldenpipe.cluster.lease import (
    LEASE,
    Candidate,
    Object,
    Sighting,
    Times,
    free_in,
    given_back,
    holder_of,
    leader_of,
    renewed,
    sighted,
    taken,
    term_of,
)
from goldenpipe_kube import Conflict, Kube, KubeError, Listed, NotFound

log = logging.getLogger(__name__)

Work = Callable[[int], Awaitable[None]]
"""What the leader does in the term of this number, until it is cancelled."""


def boot_time() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Election:
    """One candidate's part in it."""

    def __init__(
        self, kube: Kube, me: Candidate, *, times: Times | None = None, clock: Callable[[], float] = boot_time
    ) -> None:
        self._kube, self._me = kube, me
        self._times, self._clock = times or Times(), clock
        self._sighting: Sighting | None = None
        self._renewed_at: float | None = None
        self._news = asyncio.Event()

    @property
    def leader(self) -> str | None:
        """Where somebody else leads; None if nobody does, as far as can be seen from here."""
        return leader_of(self._sighting, self._me, self._clock(), self._times)

    def remaining(self) -> float:
        """Seconds for which this process may still write to the cluster; never more than others wait for it."""
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._times.fence - self._clock()

    async def run(self, work: Work, on_standby: Callable[[], Awaitable[None]]) -> NoReturn:
        """Take part for ever. Cancelled, it lets the work come to its end and then gives the Lease back."""
        alarm = asyncio.create_task(self._watch(), name="watch Lease")
        try:
            while True:
                await self._lead(await self._win(on_standby), work)
        finally:
            alarm.cancel()
            await asyncio.gather(alarm, return_exceptions=True)

    async def _watch(self) -> None:
        """Rings on every change. A watch may be dead without knowing, hence the looks of `_win`."""
        async for event in self._kube.watch("Lease", fields=f"metadata.name={LEASE}"):
            if not isinstance(event, Listed):
                self._see(None if event.type == "DELETED" else event.object)
                self._news.set()

    def _see(self, lease: Object | None) -> Sighting:
        self._sighting = sighted(self._sighting, lease, self._clock())
        return self._sighting

    async def _win(self, on_standby: Callable[[], Awaitable[None]]) -> Object:
        """The Lease, as soon as it is this candidate's."""
        told: str | None = None
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(self._times.request):
                    lease = await self._try()
                if lease is not None:
                    return lease
                words = f"{holder_of(self._sighting.lease) if self._sighting else None} leads"
            except (KubeError, TimeoutError) as error:
                words = f"the Lease cannot be had: {str(error) or 'no answer in time'}"
            if words != told:
                told = words
                log.info("standing by: %s", words, extra={"action": "standby"})
            await on_standby()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()

    def _pause(self) -> float:
        """Until the Lease is free, but look now and then; a little more than nothing, for others try as well."""
        if self._sighting is None:
            return self._times.renew
        left = free_in(self._sighting, self._me, self._clock(), self._times)
        return min(max(left, self._times.renew / 10), self._times.renew)

    async def _try(self) -> Object | None:
        sighting = self._see(await self._kube.find("Lease", LEASE))
        if free_in(sighting, self._me, self._clock(), self._times) > 0:
            return None
        wanted, begun = taken(sighting.lease, self._me, datetime.now(UTC), self._times), self._clock()
        try:
            lease = await (self._kube.create(wanted) if sighting.lease is None else self._kube.replace(wanted))
        except (Conflict, NotFound):
            self._see(await self._kube.find("Lease", LEASE))
            return None
        self._renewed_at = begun
        self._see(lease)
        return lease

    async def _lead(self, lease: Object, work: Work) -> None:
        log.info("leading, in term %d", term_of(lease), extra={"action": "lead"})
        working = asyncio.ensure_future(work(term_of(lease)))
        holding = asyncio.create_task(self._hold(lease), name="hold Lease")
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # the Lease is renewed until the work has ended, and given back only after that
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            await self._give_back()
        if not working.cancelled():
            working.result()

    async def _hold(self, lease: Object) -> None:
        """Renew until that is no longer possible; return in time to stop."""
        while (left := self._until_stop()) > 0:
            await asyncio.sleep(min(self._times.renew, left))
            begun = self._clock()
            try:
                async with asyncio.timeout(max(0.0, min(self._times.request, self._until_stop()))):
                    lease = await self._kube.replace(renewed(lease, datetime.now(UTC)))
            except Conflict:
                if (changed := await self._look_again()) is not None:
                    lease = changed
                continue
            except NotFound:
                log.warning("the Lease %s was deleted; standing by", LEASE, extra={"action": "standby"})
                self._renewed_at = None
                return
            except (KubeError, TimeoutError) as error:
                log.warning("the Lease was not renewed: %s", str(error) or "no answer in time")
                continue
            self._renewed_at = begun
        log.warning("the Lease could not be renewed in time; standing by", extra={"action": "standby"})

    def _until_stop(self) -> float:
        return 0.0 if self._renewed_at is None else self._renewed_at + self._times.stop - self._clock()

    async def _look_again(self) -> Object | None:
        """The Lease, if it is still ours and somebody has only written something else on it."""
        try:
            async with asyncio.timeout(self._times.request):
                lease = self._see(await self._kube.find("Lease", LEASE)).lease
        except (KubeError, TimeoutError):
            return None
        if holder_of(lease) == self._me.identity:
            return lease
        log.warning("%s has taken the Lease", holder_of(lease), extra={"action": "standby"})
        self._renewed_at = None
        return None

    async def _give_back(self) -> None:
        """Nobody need wait for it then. If it cannot be done, it runs out."""
        if self.remaining() <= 0:
            self._renewed_at = None
            return
        self._renewed_at = None
        try:
            async with asyncio.timeout(self._times.request):
                lease = await self._kube.find("Lease", LEASE)
                if lease is not None and holder_of(lease) == self._me.identity:
                    self._see(await self._kube.replace(given_back(lease, datetime.now(UTC))))
        except (KubeError, TimeoutError) as error:
            log.info("the Lease could not be given back and runs out by itself: %s", error)
