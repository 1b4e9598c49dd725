"""Writing and reading the records of builds: an index that can be listed, and a Secret that it leads to.

The index comes first and goes last. Where it is without its Secret, no caller was ever told of the build, or all that
was of it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime

from goldenpipe.cluster.labels import OURS
from goldenpipe.engine.record import RECORD, Index, index_data, index_of, plan_of, planned, record_name
from goldenpipe.model.build import Build
from goldenpipe.model.status import BuildState, Target
from goldenpipe.store import Store
from goldenpipe.templating.bundle import Bundle
from goldenpipe_kube import Conflict, Kube, NotFound, Object

ABSENT, REMOVING = "absent", "removing"
"""What `Build.recorded` is, beside a state: the image is to go; and all that there is of it is written down."""


class Records:
    """Every write makes sure rather than does; what the record tells already (`Build.recorded`) is not told again."""

    def __init__(self, kube: Kube, store: Store) -> None:
        self._kube, self._store = kube, store

    async def keep(self, build: Build, bundle: Bundle) -> None:
        """Make the record, before anything else is made in the cluster."""
        if build.recorded is not None:
            return
        state = _told(build)
        index = await self._index(build, state)
        await self._kube.ensure(await asyncio.to_thread(plan_of, build, bundle, index))
        await self._store.note_recorded(build.id, ABSENT if build.target is Target.ABSENT else state.value)

    async def _index(self, build: Build, state: BuildState) -> Object:
        try:
            return await self._kube.create(index_of(build, state))
        except Conflict:
            return await self._kube.patch("ConfigMap", record_name(build.id), {"data": index_data(build, state)})

    async def mark(self, build: Build, state: BuildState) -> None:
        """Write how far the build is, before that is acted on."""
        if build.recorded == state.value:
            return
        if state.ended:
            build = replace(build, ended_at=datetime.now(UTC))
        try:
            await self._write(build, state, state.value)
        except NotFound:
            await self.keep(replace(build, recorded=None), await self._store.bundle(build.templates))

    async def mark_absent(self, build: Build, *, removing: bool = False) -> None:
        """Write that the image is to go, before the caller is told; and before anything of it goes, all there is of it.

        In between the build may still have made something.
        """
        word = REMOVING if removing else ABSENT
        if build.recorded in (None, REMOVING, word):
            return
        state = build.state if removing else _told(build)
        with contextlib.suppress(NotFound):  # gone with all the rest
            await self._write(replace(build, target=Target.ABSENT), state, word)

    async def _write(self, build: Build, state: BuildState, word: str) -> None:
        await self._kube.patch("ConfigMap", record_name(build.id), {"data": index_data(build, state)})
        await self._store.note_recorded(build.id, word)

    async def remove(self, build: str) -> None:
        """The record goes last."""
        for kind in ("Secret", "ConfigMap"):
            await self._kube.delete(kind, record_name(build))

    async def list(self) -> list[Index]:
        return [Index.read(found) for found in await self._kube.list("ConfigMap", labels=f"{OURS},{RECORD}")]

    async def read(self, build: str) -> tuple[Build, Bundle] | None:
        """The plan; None where there is no Secret."""
        secret = await self._kube.find("Secret", record_name(build))
        return None if secret is None else await asyncio.to_thread(planned, secret)


def _told(build: Build) -> BuildState:
    """What the index says of the state: how far a running build is, its steps' input Secrets tell."""
    return BuildState.QUEUED if build.state is BuildState.RUNNING else build.state
