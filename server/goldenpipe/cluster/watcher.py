"""Watches turn into keys: each event is put into `Seen` and says only *which* build to look at."""

from __future__ import annotations

from collections.abc import Callable

from goldenpipe.cluster.labels import BUILD, label
from goldenpipe.cluster.seen import Object, Seen
from goldenpipe_kube import Kube, Listed

Handler = Callable[[Object], None]


async def watch_kind(kube: Kube, kind: str, seen: Seen, *, on_build: Callable[[str], None], on_object: Handler) -> None:
    """Watch one kind for ever."""

    def touched(obj: Object) -> None:
        if build := label(obj, BUILD):
            on_build(build)

    # not by who manages them: of a disk's claim CDI says that it does
    async for event in kube.watch(kind, labels=BUILD):
        if isinstance(event, Listed):
            for obj in seen.replace_all(kind, event.items):
                touched(obj)
            continue
        obj = {"kind": kind, **event.object}
        if event.type == "DELETED":
            seen.drop(obj)
        else:
            seen.put(obj)
            on_object(obj)
        touched(obj)
