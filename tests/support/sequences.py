"""What an object's status went through, without what is another's on every run: names, times, addresses, uids."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from typing import Any

from goldenpipe_kube import KINDS, Kube, Object
from support.recordings import Recorded
from support.watching import raw_watch

State = dict[str, Any]
"""One moment of one object, in words that can be compared."""
States = list[State]


async def told_since(kube: Kube, version: str, *kinds: str) -> list[Recorded]:
    """All events of these kinds that the API server keeps, from a version on."""
    parts = await asyncio.gather(*(_told(kube, version, kind) for kind in kinds))
    events = [event for part in parts for event in part]
    return sorted(events, key=lambda event: int(event.object["metadata"]["resourceVersion"]))


async def _told(kube: Kube, version: str, kind: str) -> list[Recorded]:
    path = KINDS[kind].path(kube.namespace)
    watched = raw_watch(kube, f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=1")
    return [Recorded(at=0, type=event.type, kind=kind, object=event.object) async for event in watched]


def states_of(events: Iterable[Recorded], kind: str, name: str = "") -> States:
    """Of all objects of a kind, or of the one of this name, each state once until it changes."""
    chosen = [event for event in events if event.kind == kind and name in ("", event.name)]
    return distinct(_READERS[kind](event) for event in chosen)


def distinct(states: Iterable[State]) -> States:
    return [state for state, _ in groupby(states)]


def plain(words: str, event: Recorded) -> str:
    """A message without what is another's on every run."""
    names = sorted({event.name, *_claims(event.object)}, key=len, reverse=True)
    for name in names:
        words = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "NAME", words)
    words = re.sub(r"sha256:[0-9a-f]{64}", "HASH", words)
    words = re.sub(r'https?://[^\s"]+', "URL", words)
    words = re.sub(r"\b\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS", words)
    return re.sub(r"\b[a-z0-9-]+/(NAME|nope)", r"NAMESPACE/\1", words)


def _claims(obj: Object) -> set[str]:
    return set(re.findall(r'"(?:claimName|name)": "([\w.-]+)"', json.dumps(obj.get("spec") or {})))


def _condition(event: Recorded, kind: str) -> str:
    found = event.condition(kind)
    if not found:
        return "-"
    words = [found["status"], found.get("reason") or "", plain(found.get("message") or "", event)]
    return " ".join(word for word in words if word)


def _conditions(event: Recorded) -> State:
    kinds = [each["type"] for each in event.status.get("conditions") or []]
    return {kind: _condition(event, kind) for kind in sorted(kinds)}


def _end(event: Recorded) -> str:
    return "gone" if event.type == "DELETED" else "going" if event.deleting else ""


def _data_volume(event: Recorded) -> State:
    status = event.status
    progress = str(status.get("progress") or "-")
    return {
        "phase": status.get("phase") or "-",
        "progress": "N.NN%" if re.fullmatch(r"\d+\.\d\d%", progress) else progress,
        "restarts": status.get("restartCount") or 0,
        **{kind: _condition(event, kind) for kind in ("Bound", "Ready", "Running")},
        "fields": " ".join(sorted(status)),
        "end": _end(event),
    }


def _claim(event: Recorded) -> State:
    return {"phase": event.status.get("phase"), "fields": " ".join(sorted(event.status)), "end": _end(event)}


def _instance(event: Recorded) -> State:
    status = event.status
    interface = (status.get("interfaces") or [{}])[0]
    return {
        "phase": status.get("phase") or "-",
        "conditions": _conditions(event),
        "interface": " ".join(sorted(interface)),
        "address": "inner" if interface.get("ipAddress") == "10.0.2.2" else "yes" if "ipAddress" in interface else "no",
        "source": interface.get("infoSource") or "-",
        "fields": " ".join(sorted(status)),
        "end": _end(event),
    }


def _machine(event: Recorded) -> State:
    status = event.status
    return {
        "word": status.get("printableStatus") or "-",
        "created": status.get("created") or False,
        "ready": status.get("ready") or False,
        "conditions": _conditions(event),
        "asked": [request["action"] for request in status.get("stateChangeRequests") or []],
        "strategy": status.get("runStrategy") or "-",
        "fields": " ".join(sorted(status)),
        "end": _end(event),
    }


def _job(event: Recorded) -> State:
    status = event.status
    uncounted = status.get("uncountedTerminatedPods") or {}
    # in the order in which they were added
    conditions = [f"{each['type']} {_condition(event, each['type'])}" for each in status.get("conditions") or []]
    return {
        **{field: status.get(field) for field in ("active", "ready", "terminating", "succeeded", "failed")},
        "uncounted": {kind: len(uids) for kind, uids in uncounted.items()},
        "conditions": [re.sub(r"pod \S+", "pod POD", words) for words in conditions],
        "fields": " ".join(sorted(status)),
        "end": _end(event),
    }


def _pod(event: Recorded) -> State:
    state = event.container
    kind = next(iter(state), "-")
    what = state.get(kind) or {}
    return {
        "phase": event.status.get("phase"),
        "container": " ".join(
            str(word) for word in (kind, what.get("reason"), what.get("exitCode")) if word is not None
        ),
        "says": plain(what.get("message") or "", event).strip(),
        "conditions": _conditions(event),
        "tracked": bool(event.object["metadata"].get("finalizers")),
        "end": _end(event),
    }


_READERS: dict[str, Callable[[Recorded], State]] = {
    "DataVolume": _data_volume,
    "PersistentVolumeClaim": _claim,
    "VirtualMachineInstance": _instance,
    "VirtualMachine": _machine,
    "Job": _job,
    "Pod": _pod,
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something in which the local cluster differs from a real one, and why it has to; `hide` takes it out of both."""

    kind: str
    what: str
    why: str
    hide: Callable[[States], States]
    only: str = ""
    """The recording that it is about, if it is not about all."""
    more: bool = False
    """It is the local cluster that says more."""


def dropped(unwanted: Callable[[State], bool]) -> Callable[[States], States]:
    """Leaves out these moments."""
    return lambda states: distinct(state for state in states if not unwanted(state))


def changed(change: Callable[[State], State]) -> Callable[[States], States]:
    """Shows each moment in another way."""
    return lambda states: distinct({**state, **change(state)} for state in states)


def without(states: States, differences: Iterable[Difference]) -> States:
    for difference in differences:
        states = difference.hide(states)
    return states


def must_be_same(local: States, recorded: States) -> None:
    """The one went through exactly what the other went through."""
    if _lines(local) != _lines(recorded):
        raise AssertionError(_parting(local, recorded))


def must_be_within(local: States, recorded: States) -> None:
    """The one went through what the other did, from beginning to end; it may have passed over a moment.

    For what a controller writes when it has looked at something else: it looks when it has the time, so that on a real
    cluster, too, one run has moments that another has not.
    """
    ours, theirs = _lines(local), _lines(recorded)
    left = iter(theirs)
    if ours[:1] != theirs[:1] or ours[-1:] != theirs[-1:] or not all(line in left for line in ours):
        raise AssertionError(_parting(local, recorded))


def _parting(local: States, recorded: States) -> str:
    lines = unified_diff(_lines(recorded), _lines(local), "recorded", "local", lineterm="", n=1)
    return "they part:\n" + "\n".join(lines)


def _lines(states: States) -> list[str]:
    return [json.dumps(state, sort_keys=True) for state in states]
