"""What callers may do with images and VMs, in the service's own words; the REST API only translates."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from goldenpipe.bases import look_at_base
from goldenpipe.changes import Changes
from goldenpipe.cluster.exports import Download, export_disk
from goldenpipe.cluster.seen import Seen
from goldenpipe.cluster.vms import vm_document, vm_status
from goldenpipe.engine.engine import Engine
from goldenpipe.engine.logs import Logs
from goldenpipe.engine.record import size_fault
from goldenpipe.engine.records import Records
from goldenpipe.engine.screenshots import Screenshots
from goldenpipe.errors import Fault, ImageNotFound, InvalidRequest, NotReady, Unavailable
from goldenpipe.model.base_image import Base, base_by_name
from goldenpipe.model.build import Build
from goldenpipe.model.request import ImageRequest, RequestContext, parse_request
from goldenpipe.model.status import BuildState
from goldenpipe.planning.plan import plan_build
from goldenpipe.settings import ClusterSettings
from goldenpipe.store import Store
from goldenpipe.store.store import Filter, Totals
from goldenpipe.templating.bundle import Bundle, TemplateError
from goldenpipe_kube import Kube, KubeError

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ImagesParts:
    """What `Images` works with."""

    store: Store
    kube: Kube
    seen: Seen
    engine: Engine
    records: Records
    logs: Logs
    screenshots: Screenshots
    changes: Changes
    settings: ClusterSettings
    file_urls: bool
    read_bundle: Callable[[], Bundle]


class Images:
    """The use cases."""

    def __init__(self, parts: ImagesParts) -> None:
        self._parts = parts
        self._store, self._kube, self._seen = parts.store, parts.kube, parts.seen

    async def create(self, document: Any) -> Build:
        """Check the whole request, store it, start it."""
        return await asyncio.shield(self._create(document))

    async def _create(self, document: Any) -> Build:
        try:
            bundle = await asyncio.to_thread(self._parts.read_bundle)
            context = RequestContext(scripts=bundle.scripts, file_urls=self._parts.file_urls)
            request = await asyncio.to_thread(parse_request, document, context)
            if isinstance(request, list):
                raise InvalidRequest.of(request)
            request = request.based_on(await self._look_at_base(request))
            created_at = datetime.now(UTC)
            plan = await asyncio.to_thread(plan_build, request, bundle, self._parts.settings, created_at)
        except TemplateError as error:
            message = f"a template is wrong: {error}; run `goldenpipe lint` and correct it"
            raise Unavailable(message) from error
        if fault := await asyncio.to_thread(size_fault, request.model_dump(), bundle):
            raise InvalidRequest.of([fault])
        build = await self._store.create(request, plan, bundle, created_at=created_at)
        if context.secrets:
            await self._keep_secrets(build, context.secrets)
        await self._record(build, bundle)
        await self._parts.engine.admit()
        return await self._store.get(build.id) or build

    async def _look_at_base(self, request: ImageRequest) -> Base:
        """What the base image is; `InvalidRequest` if nothing can be built from it."""
        url = request.base_iso_url
        base = await look_at_base(url) if self._parts.settings.look_at_base_image else base_by_name(urlsplit(url).path)
        if base.fault and request.os_type == "linux":
            raise InvalidRequest.of([Fault("base_iso_url", base.fault)])
        return base

    async def _keep_secrets(self, build: Build, secrets: dict[str, str]) -> None:
        """Before the build may start; a service that is killed here leaves a build that fails saying what it misses."""
        try:
            await self._parts.engine.keep_secrets(build, secrets)
        except KubeError as error:
            await self._store.mark_absent(build.name)
            self._parts.engine.touch(build.id)
            message = f"the cluster could not keep the request's passwords and keys: {error}"
            raise Unavailable(message) from error

    async def _record(self, build: Build, bundle: Bundle) -> None:
        """The caller is told of the build only when it would outlive the store. What cannot be recorded goes again."""
        try:
            await self._parts.records.keep(build, bundle)
        except KubeError as error:
            await self._store.mark_absent(build.name)
            self._parts.engine.touch(build.id)
            message = f"the build cannot be recorded in the cluster: {error.message}"
            raise Unavailable(message) from error
        if await self._store.get(build.id) is None:  # deleted in the meantime
            await self._parts.records.remove(build.id)

    async def get(self, name: str) -> Build:
        build = await self._store.by_name(name)
        if build is None:
            message = f"there is no image named {name!r}"
            raise ImageNotFound(message)
        return build

    async def select(self, wanted: Filter) -> list[Build]:
        return await self._store.select(wanted)

    async def watch(self, name: str) -> AsyncIterator[Build]:
        """The image now and after every change, until it has ended or is gone."""
        build: Build | None = await self.get(name)
        while build is not None:
            ring = self._parts.changes.next()
            latest = await self._store.by_name(name)
            if latest is None or latest.id != build.id:
                return
            build = latest
            yield build
            if build.state.ended and build.status != "deleting":
                return
            await asyncio.wait([ring])

    async def delete(self, name: str) -> None:
        build = await self._store.mark_absent(name)
        if build is None:
            message = f"there is no image named {name!r}"
            raise ImageNotFound(message)
        try:
            await self._parts.records.mark_absent(build)
        finally:
            self._parts.engine.touch(build.id)

    async def log(self, name: str, step: str, *, follow: bool) -> AsyncIterator[bytes]:
        """A step's log; with `follow` until the step has ended."""
        build = await self.get(name)
        if step not in {found.name for found in build.steps}:
            known = ", ".join(found.name for found in build.steps)
            message = f"image {name!r} has no step {step!r}; its steps are {known}"
            raise ImageNotFound(message)
        return self._parts.logs.read(build.id, step, follow=self._running(build.id, step) if follow else None)

    def _running(self, build_id: str, step: str) -> Callable[[], AsyncIterator[bool]]:
        async def moments() -> AsyncIterator[bool]:
            while True:
                rings = [self._parts.changes.next(), self._parts.logs.changes.next()]
                build = await self._store.get(build_id)
                found = next((s for s in build.steps if s.name == step), None) if build else None
                ended = build is None or found is None or found.status.ended or build.state.ended
                yield not ended
                await asyncio.wait(rings, return_when=asyncio.FIRST_COMPLETED)

        return moments

    async def screenshot(self, name: str) -> bytes:
        """PNG of what the image's VM shows, or showed when its build failed."""
        build = await self.get(name)
        if picture := await self._parts.screenshots.take(build):
            return picture
        if picture := await self._parts.screenshots.read(build.id):
            return picture
        kept = "none was kept: no VM ran when its build failed, or the cluster gave no picture of it"
        no_vm = "no VM of it runs now"
        message = f"there is no screenshot of image {name!r}: {kept if build.state is BuildState.FAILED else no_vm}"
        raise ImageNotFound(message)

    @asynccontextmanager
    async def export(self, name: str) -> AsyncIterator[Download]:
        """The sealed disk, as the cluster offers it for download."""
        build = await self.get(name)
        if build.state is not BuildState.SUCCEEDED or build.status == "deleting":
            message = f"image {name!r} is {build.status.value}; only a ready image can be exported"
            raise NotReady(message)
        async with export_disk(self._kube, build.pvc, build.id, token=secrets.token_urlsafe(32)) as download:
            yield download

    def vms(self) -> list[Object]:
        return [self._vm_document(vm) for vm in sorted(self._seen.all("VirtualMachine"), key=_name)]

    def vm(self, name: str) -> Object:
        return self._vm_document(self._found_vm(name))

    async def delete_vm(self, name: str) -> None:
        """Delete a build VM; if its build runs, the build fails and says so."""
        vm = self._found_vm(name)
        await self._kube.delete("VirtualMachine", name, uid=vm["metadata"]["uid"])

    def active_vms(self) -> int:
        return sum(self._status(vm) == "running" for vm in self._seen.all("VirtualMachine"))

    async def totals(self) -> Totals:
        return await self._store.totals()

    async def check_health(self) -> None:
        """Return if store and cluster can be reached; `Unavailable` with the reason if not."""
        await self._store.check()
        await check_cluster(self._kube)

    def _found_vm(self, name: str) -> Object:
        vm = self._seen.get("VirtualMachine", name)
        if vm is None:
            message = f"there is no VM named {name!r}"
            raise ImageNotFound(message)
        return vm

    def _vm_document(self, vm: Object) -> Object:
        return vm_document(vm, self._seen.get("VirtualMachineInstance", _name(vm)))

    def _status(self, vm: Object) -> str:
        return vm_status(vm, self._seen.get("VirtualMachineInstance", _name(vm)))


async def check_cluster(kube: Kube) -> None:
    """Return if the cluster can be reached; `Unavailable` with the reason if not."""
    try:
        await kube.healthy()
    except KubeError as error:
        message = f"the cluster cannot be reached: {error.message}"
        raise Unavailable(message) from error


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
