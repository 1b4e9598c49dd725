"""What a template may use: the one place that decides it (docs/templates.md is written from it)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from goldenpipe.model.base_image import base_by_name
from goldenpipe.model.quantities import parse_bytes
from goldenpipe.model.request import BUILD_USER, WindowsSetup, inline_mark
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.answers import answers
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import read_documents

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Where the guest answers SSH."""

    address: str
    port: int
    user: str = BUILD_USER


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The build's own keys: the one the steps log in with, and the guest's host key. Never stored by the service."""

    user_private: str
    user_public: str
    host_private: str
    host_public: str
    password: str = ""
    """Of the user that the steps log in as, for a guest that makes no user without one."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the build's objects."""

    image: str
    build: str
    namespace: str
    vm: str
    disk: str
    labels: dict[str, str]


def request_context(request: Object) -> Object:
    """The request as templates see it, with what is easier worked out once."""
    url = urlsplit(request["base_iso_url"])
    return {
        # of a request that was stored before base images were looked at, the name must do
        "base_kind": base_by_name(url.path).kind,
        "base_bytes": None,
        **request,
        # a request of an older version has neither
        "accept_eula": request.get("accept_eula", False),
        "windows": WindowsSetup().model_dump() | request.get("windows", {}),
        "storage_bytes": parse_bytes(request["storage_size"]),
        "url_scheme": url.scheme,
        "url_path": url.path,
    }


def build_context(
    *,
    request: Object,
    names: Names,
    settings: ClusterSettings,
    bundle: Bundle,
    facts: Object,
    guest: Guest | None,
    keys: Keys | None = None,
) -> Object:
    """Everything but the step itself."""
    customizations = request["customizations"]
    return {
        "request": request_context(request),
        "customizations": customizations,
        "image": {
            "name": names.image,
            "os_type": request["os_type"],
            "labels": request["labels"],
            "disk_labels": {**request["labels"], **_preference_labels(settings, request["os_type"]), **names.labels},
        },
        "build": {"id": names.build, "vm": names.vm, "disk": names.disk, "user": BUILD_USER, "labels": names.labels},
        "namespace": names.namespace,
        "settings": asdict(settings),
        "facts": facts,
        "guest": asdict(guest) if guest else None,
        "files": [{"path": path, "content": content} for path, content in customizations["files"].items()],
        "scripts": [
            _script(bundle, script, at, inline_mark(request["os_type"]))
            for at, script in enumerate(customizations["scripts"], start=1)
        ],
        "package_names": _package_names(bundle),
        "keys": asdict(keys) if keys else None,
        "secrets": {},
        "answer": answers(bundle),
    }


def _preference_labels(settings: ClusterSettings, os_type: str) -> dict[str, str]:
    """Labels by which KubeVirt infers a VM's defaults from the volume it is made of."""
    preference = settings.windows_preference if os_type == "windows" else settings.preference
    found = {
        "default-instancetype": (settings.instancetype, "VirtualMachineClusterInstancetype"),
        "default-preference": (preference, "VirtualMachineClusterPreference"),
    }
    labels = {}
    for name, (value, kind) in found.items():
        if value:
            labels[f"instancetype.kubevirt.io/{name}"] = value
            labels[f"instancetype.kubevirt.io/{name}-kind"] = kind
    return labels


def _package_names(bundle: Bundle) -> Object:
    path = "packages.yaml"
    return next(iter(read_documents(path, bundle.files.get(path, ""))), {})


def _script(bundle: Bundle, script: str, position: int, mark: str) -> Object:
    if script.startswith(mark):
        return {"name": f"inline script {position}", "content": script}
    return {"name": script, "content": bundle.text(f"scripts/{script}")}
