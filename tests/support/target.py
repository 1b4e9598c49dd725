"""An API server under test."""

from __future__ import annotations

from dataclasses import dataclass

from goldenpipe_kube import Kube
from support.api import Api


@dataclass(frozen=True, kw_only=True)
class Target:
    """One API server, and a namespace of it that is this test's alone."""

    api: Api
    kube: Kube
    namespace: str

    def core(self, plural: str, name: str = "", subresource: str = "") -> str:
        return self.path("api/v1", plural, name, subresource)

    def jobs(self, name: str = "", subresource: str = "") -> str:
        return self.path("apis/batch/v1", "jobs", name, subresource)

    def path(self, root: str, plural: str, name: str = "", subresource: str = "") -> str:
        parts = ["", root, "namespaces", self.namespace, plural, name, subresource]
        return "/".join(part for index, part in enumerate(parts) if part or index == 0)
