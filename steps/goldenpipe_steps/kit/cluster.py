"""Watching single objects of the cluster, and saying in words what their conditions mean."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from goldenpipe_kube import Kube, KubeError, Listed
from goldenpipe_kube.kinds import Object
from goldenpipe_steps.kit.errors import Permanent

CONSOLE = "guest-console-log"
SSH_PORT = "goldenpipe.io/ssh-port"
_TELLING = ("Failure", "Synchronized", "Provisioning", "PodScheduled", "Ready")
"""Conditions that may say why a VMI ended; others, such as LiveMigratable, have a message all its life."""
SAYS_NOTHING = ("GuestNotRunning", "PodTerminating", "PodNotExists", "VMINotExists", "VMIConditionMissing")
"""Reasons of the condition Ready that go with any end, and any start."""


async def watch_one(kube: Kube, kind: str, name: str) -> AsyncGenerator[Object | None]:
    """The object as it is and whenever it changes; None while it does not exist."""
    await kube.find(kind, name)  # a watch would only retry what a plain read says in words, such as 403
    async for event in kube.watch(kind, fields=f"metadata.name={name}"):
        if isinstance(event, Listed):
            if not any(item["metadata"]["name"] == name for item in event.items):
                yield None
        elif event.object["metadata"]["name"] == name:
            yield None if event.type == "DELETED" else event.object


def condition(obj: Object | None, kind: str) -> Object:
    """The condition of that type; empty if there is none."""
    for one in status(obj).get("conditions") or []:
        if one.get("type") == kind:
            return dict(one)
    return {}


def status(obj: Object | None) -> Object:
    return dict((obj or {}).get("status") or {})


def address_of(vmi: Object) -> str:
    """The guest's address on the network that its steps use, the first of its template; empty while it has none.

    A guest agent may tell of more interfaces (bridges of containers, say), in any order.
    """
    named = ((vmi.get("spec") or {}).get("networks") or [{}])[0].get("name")
    interfaces = status(vmi).get("interfaces") or []
    ours = [each for each in interfaces if not named or each.get("name") == named]
    return next((str(each["ipAddress"]) for each in ours if each.get("ipAddress")), "")


def why_ended(vmi: Object | None) -> str:
    """What the conditions of a VMI that ended say, the most telling first."""
    conditions = status(vmi).get("conditions") or []
    told = [
        str(one["message"])
        for kind in _TELLING
        for one in conditions
        if one.get("type") == kind and one.get("message") and one.get("reason") not in SAYS_NOTHING
        if one.get("status") == "False" or kind == "Failure"
    ]
    if not told and status(vmi).get("phase") == "Failed":
        told = [str(status(vmi).get("reason") or "its QEMU crashed or was killed, and KubeVirt gives no reason")]
    return told[0] if told else ""


async def console_tail(kube: Kube, vmi_uid: str, lines: int = 12) -> list[str]:
    """The last lines of the guest's serial console, where the cluster keeps them."""
    tail = bytearray()
    with contextlib.suppress(KubeError):
        for pod in await kube.list("Pod", labels=f"kubevirt.io/created-by={vmi_uid}"):
            async for chunk in kube.logs(pod["metadata"]["name"], container=CONSOLE, tail_lines=100):
                tail = (tail + chunk)[-65536:]
    text = tail.decode(errors="replace")
    clean = ["".join(char for char in line if char.isprintable()).strip() for line in text.splitlines()]
    return [line for line in clean if line][-lines:]


def gone(kind: str, name: str) -> Permanent:
    return Permanent(f"{kind} {name} was deleted while the build needed it", hint="Start the build again.")
