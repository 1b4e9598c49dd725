"""One run of a step program: its input, its log, and ways to the guest and to the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from goldenpipe_steps.kit.errors import Permanent, Temporary
from goldenpipe_steps.kit.inputs import Address, Input, Params
from goldenpipe_steps.kit.log import Log
from goldenpipe_steps.kit.report import Report

if TYPE_CHECKING:
    from goldenpipe_kube import Kube
    from goldenpipe_steps.kit.guest import Guest

CONNECT_SECONDS = 90.0
"""How long a running guest may need to answer; it may be busy, or just be coming back from a reboot."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a program gets; its `run` returns the `Report` of a success or raises a `StepError`."""

    input: Input
    log: Log
    environ: Mapping[str, str]

    @property
    def params(self) -> Params:
        return self.input.params

    def say(self, text: str) -> None:
        self.log.say(text)

    def progress(self, percent: float, message: str) -> None:
        self.log.progress(percent, message)

    def done(self, message: str, **facts: str | int | float | bool | None) -> Report:
        return Report(message=message, facts=facts)

    @property
    def ssh_folder(self) -> Path:
        return Path(self.environ.get("GOLDENPIPE_SSH", "/goldenpipe/ssh"))

    @asynccontextmanager
    async def guest(
        self, address: Address | None = None, *, connect_seconds: float = CONNECT_SECONDS, first_boot: bool = False
    ) -> AsyncIterator[Guest]:
        """The guest, logged in and looked at; the connection is made anew whenever it is lost."""
        from goldenpipe_steps.kit.guest import open_guest

        where = address or self.input.guest
        if where is None:
            message = "this step works in the guest, but its input document names none"
            raise Permanent(message, hint="Put it after create_vm in the pipeline.")
        opened = open_guest(where, self.ssh_folder, self.log, connect_seconds=connect_seconds, first_boot=first_boot)
        async with opened as guest:
            yield guest

    @asynccontextmanager
    async def kube(self) -> AsyncIterator[Kube]:
        """The Kubernetes API; its own failures become failures of the step in words."""
        from goldenpipe_kube import Forbidden, Kube, KubeError

        namespace = self.input.namespace or self.environ.get("GOLDENPIPE_NAMESPACE")
        try:
            async with await Kube.connect(namespace=namespace) as kube:
                yield kube
        except Forbidden as error:
            message = f"the step may not use the Kubernetes API as it must: {error}"
            raise Permanent(
                message, hint="Its template needs `api: true` and a `service_account` whose Role allows this."
            ) from error
        except KubeError as error:
            message = f"the Kubernetes API refused or did not answer: {error}"
            raise Temporary(message) from error
