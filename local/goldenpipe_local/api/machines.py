"""start, stop and restart of a VirtualMachine, as KubeVirt's virt-api does them: by changing the VirtualMachine."""

from __future__ import annotations

from aiohttp import web

from goldenpipe_kube import Object
from goldenpipe_local.api.errors import ApiError, bad_request, not_found
from goldenpipe_local.api.patches import merge_patch
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.requests import Request
from goldenpipe_local.api.resources import BY_KIND

_MACHINES = BY_KIND["VirtualMachine"]
_INSTANCES = BY_KIND["VirtualMachineInstance"]
_FINAL = ("Succeeded", "Failed")
_NOT_YET = ("", "Unknown")
_BY_REQUEST = ("Manual", "RerunOnFailure")


class Machines:
    """The subresources; the node agent does what the changed VirtualMachine asks for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def act(self, request: Request) -> web.Response:
        if not _accepts_nothing(request.http.headers.get("Accept", "*/*")):
            return web.Response(status=406, text="406: Not Acceptable")
        options = await request.body() or {}
        if not isinstance(options, dict):
            message = f"the body of {request.subresource} is an options object"
            raise bad_request(message)
        machine = self._machine(request)
        instance = self._registry.store.find(_INSTANCES, (request.in_namespace, request.name))
        action = {"start": self._start, "stop": self._stop, "restart": self._restart}[request.subresource]
        action(machine, instance.object if instance else None, options)
        return web.Response(status=202)

    def _machine(self, request: Request) -> Object:
        stored = self._registry.store.find(_MACHINES, (request.in_namespace, request.name))
        if stored is None:
            error = not_found(_MACHINES, request.name)
            error.message = f'virtualmachine.kubevirt.io "{request.name}" not found'
            raise error
        return stored.object

    def _start(self, machine: Object, instance: Object | None, options: Object) -> None:
        strategy = _run_strategy(machine)
        if instance and _phase(instance) not in (*_FINAL, *_NOT_YET):
            raise _refused(machine, "VM is already running")
        if strategy == "Halted":
            self._set_strategy(machine, "Always")
        elif strategy in _BY_REQUEST:
            start: Object = {"action": "Start"}
            if options.get("paused"):
                start["data"] = {"paused": "true"}
            ended = instance is not None and _phase(instance) in _FINAL
            again = ended and (strategy == "Manual" or _phase(instance or {}) == "Succeeded")
            requests = [_stop_request(instance), start] if instance and again else [start]
            self._ask(machine, requests)
        else:
            raise _refused(machine, f"{strategy} does not support manual start requests")

    def _stop(self, machine: Object, instance: Object | None, options: Object) -> None:
        strategy = _run_strategy(machine)
        if instance is None or _phase(instance) in _FINAL:
            raise _refused(machine, "VM is not running")
        self._shorten_grace(instance, options.get("gracePeriod"))
        if strategy in _BY_REQUEST:
            self._ask(machine, [_stop_request(instance)])
        elif strategy != "Halted":
            self._set_strategy(machine, "Halted")

    def _restart(self, machine: Object, instance: Object | None, options: Object) -> None:
        strategy = _run_strategy(machine)
        if options.get("gracePeriodSeconds"):
            message = "For force restart, only gracePeriod=0 is supported for now"
            raise bad_request(message)
        if strategy == "Halted":
            raise _refused(machine, "Halted does not support manual restart requests")
        if instance is None or _phase(instance) in _FINAL:
            raise _refused(machine, f"VM is not running: {strategy}")
        self._ask(machine, [_stop_request(instance), {"action": "Start"}])

    def _ask(self, machine: Object, requests: list[Object]) -> None:
        pending = (machine.get("status") or {}).get("stateChangeRequests")
        # a lone stop takes the place of what was asked before
        if pending and [request["action"] for request in requests] != ["Stop"]:
            raise _refused(machine, "unable to complete request: stop/start already underway")
        self._patch(machine, {"status": {"stateChangeRequests": requests}}, subresource="status")

    def _set_strategy(self, machine: Object, strategy: str) -> None:
        self._patch(machine, {"spec": {"runStrategy": strategy, "running": None}})

    def _patch(self, machine: Object, patch: Object, *, subresource: str = "") -> None:
        metadata = machine["metadata"]
        self._registry.edit(
            _MACHINES,
            metadata["namespace"],
            metadata["name"],
            lambda current: merge_patch(current, patch),
            subresource=subresource,
        )

    def _shorten_grace(self, instance: Object, seconds: object) -> None:
        if not isinstance(seconds, int):
            return
        metadata = instance["metadata"]
        patch = {"spec": {"terminationGracePeriodSeconds": seconds}}
        self._registry.edit(
            _INSTANCES, metadata["namespace"], metadata["name"], lambda current: merge_patch(current, patch)
        )


def _accepts_nothing(accept: str) -> bool:
    """These paths give no JSON: a client that insists on it is refused, as virt-api does."""
    kinds = [part.partition(";")[0].strip() for part in accept.split(",")]
    return not accept or "*/*" in kinds


def _run_strategy(machine: Object) -> str:
    spec = machine["spec"]
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted"))


def _phase(instance: Object) -> str:
    return str((instance.get("status") or {}).get("phase") or "")


def _stop_request(instance: Object) -> Object:
    return {"action": "Stop", "uid": instance["metadata"]["uid"]}


def _refused(machine: Object, why: str) -> ApiError:
    name = machine["metadata"]["name"]
    message = f'Operation cannot be fulfilled on virtualmachine.kubevirt.io "{name}": {why}'
    details = {"name": name, "group": "kubevirt.io", "kind": "virtualmachine"}
    return ApiError(409, "Conflict", message, details)
