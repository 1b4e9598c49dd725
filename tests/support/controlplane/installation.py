"""The installation of `manifests/`, as kustomize renders it, in a namespace of a test's own."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import yaml

from goldenpipe_kube import Object
from support.controlplane.plane import NAMESPACE, ControlPlane
from support.controlplane.programs import Programs
from support.markdown import ROOT

_RBAC = "rbac.authorization.k8s.io"
SERVICE, STEP = "goldenpipe", "goldenpipe-step"


@cache
def rendered() -> str:
    """What `kubectl apply -k manifests/` applies."""
    command = [str(Programs.find().kubectl), "kustomize", str(ROOT / "manifests")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def objects_of(namespace: str = NAMESPACE) -> list[Object]:
    """All objects of the installation; nothing but the name of the namespace may differ."""
    return list(yaml.safe_load_all(rendered().replace(NAMESPACE, namespace)))


def install(plane: ControlPlane, namespace: str) -> None:
    for obj in sorted(objects_of(namespace), key=lambda obj: obj["kind"] != "Namespace"):
        plane.must("POST", f"{_path(obj)}?fieldValidation=Strict", obj)


def step_accounts() -> list[str]:
    """The service accounts of the steps."""
    names = [obj["metadata"]["name"] for obj in objects_of() if obj["kind"] == "ServiceAccount"]
    return [name for name in names if name.startswith(STEP)]


def token_kubeconfig(plane: ControlPlane, path: Path, namespace: str, account: str) -> Path:
    """By a token of this service account of the installation, as a Pod of it would get one."""
    place = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    token = plane.must("POST", place, {"spec": {}})["status"]["token"]
    return plane.write_kubeconfig(path, {"token": token}, namespace=namespace)


def grant(plane: ControlPlane, namespace: str, account: str, rule: Object) -> None:
    """A Role of an administrator's own, beside those of the installation."""
    role = {"apiGroup": _RBAC, "kind": "Role", "name": "more"}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    bound = {"roleRef": role, "subjects": [subject]}
    for kind, content in (("Role", {"rules": [rule]}), ("RoleBinding", bound)):
        metadata = {"name": "more", "namespace": namespace}
        obj = {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, **content}
        plane.must("POST", _path(obj), obj)


def _path(obj: Object) -> str:
    version, namespace = obj["apiVersion"], obj["metadata"].get("namespace")
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = f"{obj['kind'].lower()}s".replace("ys", "ies")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
