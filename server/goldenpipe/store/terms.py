"""A store is good for a term if nobody else can have led since it was written; else it is put aside."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from goldenpipe.store.store import Store

log = logging.getLogger(__name__)


@asynccontextmanager
async def store_of_term(path: Path, term: int, *, on_change: Callable[[], None]) -> AsyncIterator[Store]:
    """The store that is here if it is not stale, else an empty one; the stale one stays beside it, until the next."""
    async with Store(path, on_change=on_change) as store:
        good = await store.belongs(term)
        if good:
            await store.lead(term)
            yield store
    if good:
        return
    aside = path.with_name(path.name + ".stale")
    path.rename(aside)
    log.warning("another service has led since %s was written: it is put aside as %s", path.name, aside.name)
    async with Store(path, on_change=on_change) as store:
        await store.lead(term)
        yield store
