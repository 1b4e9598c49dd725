"""What a DataVolume's source asks for, as something the importer can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_kube import Kube, Object
from goldenpipe_local.node.disks.importer import Blank, Clone, Fetch, Source
from goldenpipe_local.node.objects import find_condition
from goldenpipe_local.node.quantities import parse_quantity

_HTTP_FIELDS = {"url", "checksum"}


class SourceRefused(Exception):
    """A source that this node cannot import from, however often it is tried."""


class SourceBusy(Exception):
    """The source is there but not to be read yet; the import waits."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One import: from where, how large, and the words for its phases ("Import" or "Clone")."""

    source: Source
    size: int
    size_text: str
    verb: str

    @property
    def scheduled(self) -> str:
        return f"{self.verb}Scheduled"

    @property
    def in_progress(self) -> str:
        return f"{self.verb}InProgress"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Resolves sources; knows where claims lie and which of them are held or unfinished."""

    kube: Kube
    folder: Path
    is_in_use: Callable[[str], bool]
    find_claim: Callable[[str], Object | None]
    find_volume: Callable[[str], Object | None]

    async def plan(self, volume: Object) -> Plan:
        source = await self._resolve(volume["spec"])
        requested = _requested(volume["spec"])
        if "blank" in source:
            return Plan(source=Blank(), size=_size(requested), size_text=requested, verb="Import")
        if "http" in source:
            return Plan(source=_fetch(source["http"]), size=_size(requested), size_text=requested, verb="Import")
        if "pvc" in source:
            return self._clone(source["pvc"], requested)
        words = f"source {', '.join(source)} is not supported on this node; use http, pvc or blank"
        raise SourceRefused(words)

    async def _resolve(self, spec: Object) -> Object:
        if "source" in spec:
            return dict(spec["source"])
        name = spec["sourceRef"]["name"]
        found = await self.kube.find("DataSource", name)
        if found is None:
            message = f"DataSource {name} does not exist, waiting for it to appear"
            raise SourceBusy(message)
        return dict(found["spec"]["source"])

    def _clone(self, source: Object, requested: str) -> Plan:
        name = str(source["name"])
        namespace = source.get("namespace") or self.kube.namespace
        if namespace != self.kube.namespace:
            words = f"a clone from another namespace ({namespace}) is not supported on this node"
            raise SourceRefused(words)
        claim = self.find_claim(name)
        if claim is None:
            message = f"source claim {name} does not exist, waiting for it to appear"
            raise SourceBusy(message)
        if self.is_in_use(name):
            message = f"source claim {name} is in use by a virtual machine, waiting for it to be stopped"
            raise SourceBusy(message)
        volume = self.find_volume(name)
        ready = find_condition(volume, "Ready") if volume else None
        if volume and (ready is None or ready["status"] != "True"):
            message = f"source claim {name} is not filled yet, waiting for DataVolume {name}"
            raise SourceBusy(message)
        text = requested or str(claim["spec"]["resources"]["requests"]["storage"])
        return Plan(source=Clone(claim=self.folder / name), size=_size(text), size_text=text, verb="Clone")


def _fetch(http: Object) -> Fetch:
    unknown = sorted(set(http) - _HTTP_FIELDS)
    if unknown:
        words = f"http source with {', '.join(unknown)} is not supported on this node"
        raise SourceRefused(words)
    url = str(http["url"])
    if not url.startswith(("http://", "https://", "file:")):
        words = f"{url}: only http, https and file addresses are supported on this node"
        raise SourceRefused(words)
    return Fetch(url=url, checksum=http.get("checksum"))


def _requested(spec: Object) -> str:
    storage = spec.get("storage") or spec.get("pvc") or {}
    return str(((storage.get("resources") or {}).get("requests") or {}).get("storage") or "")


def _size(text: str) -> int:
    try:
        return parse_quantity(text)
    except ValueError as error:
        words = f"spec.storage.resources.requests.storage: {error}"
        raise SourceRefused(words) from error
