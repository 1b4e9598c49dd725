"""The input document that the service wrote for this step: read once, checked, then plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from goldenpipe_steps.kit.errors import Permanent

T = TypeVar("T")
_MISSING: Any = object()


class InputFault(Permanent):
    """The input document is not what the step needs."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="Check the `input:` of this step's template (goldenpipe lint names the place).")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the guest's SSH server listens and who logs in."""

    host: str
    port: int
    user: str


@dataclass(frozen=True)
class Params:
    """What the template's `input:` rendered to."""

    values: Mapping[str, Any]
    place: str = "params"

    @overload
    def get(self, key: str, kind: type[T]) -> T: ...
    @overload
    def get(self, key: str, kind: type[T], default: T) -> T: ...
    def get(self, key: str, kind: type[T], default: T = _MISSING) -> T:
        """The value under `key`; null counts as absent."""
        value = self.values.get(key)
        if value is None:
            if default is _MISSING:
                message = f"{self.place}.{key} is missing"
                raise InputFault(message)
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            message = f"{self.place}.{key} is {type(value).__name__}, not {kind.__name__}"
            raise InputFault(message)
        return value

    def seconds(self, key: str, default: float) -> float:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            message = f"{self.place}.{key} is {value!r}, not a number of seconds"
            raise InputFault(message)
        return float(value)

    def strings(self, key: str) -> list[str]:
        values = self.get(key, list, [])
        for index, value in enumerate(values):
            if not isinstance(value, str):
                message = f"{self.place}.{key}[{index}] is {type(value).__name__}, not a string"
                raise InputFault(message)
        return list(values)

    def items(self, key: str) -> list[Params]:
        """A list of mappings, each with its own place for messages."""
        values = self.get(key, list, [])
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                message = f"{self.place}.{key}[{index}] is {type(value).__name__}, not a mapping"
                raise InputFault(message)
        return [Params(value, f"{self.place}.{key}[{index}]") for index, value in enumerate(values)]


@dataclass(frozen=True, kw_only=True)
class Input:
    """The whole document."""

    step: str
    os_type: str
    image: str
    build: str
    namespace: str
    vm: str
    disk: str
    guest: Address | None
    timeout_seconds: float
    params: Params


def read_input(path: Path) -> Input:
    """Read `input.json`; a document that the step cannot use is a fault of the template, so trying again is no use."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        message = f"the input document {path} cannot be read: {error}"
        raise InputFault(message) from error
    if not isinstance(document, dict):
        message = f"the input document {path} is no JSON object"
        raise InputFault(message)
    top = Params(document, "input")
    guest = top.get("guest", dict, {})
    return Input(
        step=top.get("step", str, ""),
        os_type=top.get("os_type", str, "linux"),
        image=top.get("image", str, ""),
        build=top.get("build", str, ""),
        namespace=top.get("namespace", str, ""),
        vm=top.get("vm", str, ""),
        disk=top.get("disk", str, ""),
        guest=_address(Params(guest, "input.guest")) if guest else None,
        timeout_seconds=top.seconds("timeout_seconds", 3600.0),
        params=Params(top.get("params", dict, {})),
    )


def _address(guest: Params) -> Address:
    return Address(host=guest.get("address", str), port=guest.get("port", int, 22), user=guest.get("user", str))
