"""Puts a Pod's volumes into its own folder: there are no mount namespaces, so a mount path becomes another path."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from goldenpipe_kube import Kube, Object
from goldenpipe_local.node.files import private_folder, remove_tree, write_atomically

DEFAULT_TERMINATION_PATH = "/dev/termination-log"


class VolumeMissing(Exception):
    """What a volume is made from is not there (yet); the Pod waits for it, as under a real kubelet."""


class VolumeRefused(Exception):
    """A volume that this node cannot give."""


FindClaim = Callable[[str], Path]
"""The folder of a claim that Pods may mount; raises the exceptions here where it cannot be mounted, or not yet."""


async def materialize(kube: Kube, pod: Object, folder: Path, find_claim: FindClaim) -> dict[str, Path]:
    """Write all volumes of the Pod below `folder`; their folders by name. Those of claims are used where they are."""
    folders = {}
    private_folder(folder)
    for volume in pod["spec"].get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            folders[volume["name"]] = find_claim(str(volume["persistentVolumeClaim"]["claimName"]))
            continue
        target = folder / volume["name"]
        files = await _files(kube, pod, volume)
        private_folder(target)
        for path, content in files.items():
            place = target / _inside(path)
            private_folder(place.parent)
            write_atomically(place, content)
        folders[volume["name"]] = target
    return folders


def remove_volumes(folder: Path) -> None:
    remove_tree(folder)


async def _files(kube: Kube, pod: Object, volume: Object) -> dict[str, bytes]:
    if "emptyDir" in volume:
        return {}
    if "secret" in volume:
        return await _chosen(kube, "Secret", volume["secret"]["secretName"], volume["secret"])
    if "configMap" in volume:
        return await _chosen(kube, "ConfigMap", volume["configMap"]["name"], volume["configMap"])
    if "downwardAPI" in volume:
        return _downward(pod, volume["downwardAPI"])
    if "projected" in volume:
        return await _projected(kube, pod, volume["projected"])
    kinds = ", ".join(key for key in volume if key != "name")
    known = "secret, configMap, emptyDir or persistentVolumeClaim"
    message = f'volume "{volume["name"]}" is a {kinds}, which this node does not have; use {known}'
    raise VolumeRefused(message)


async def _projected(kube: Kube, pod: Object, projected: Object) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for source in projected.get("sources") or []:
        if "secret" in source:
            files |= await _chosen(kube, "Secret", source["secret"]["name"], source["secret"])
        elif "configMap" in source:
            files |= await _chosen(kube, "ConfigMap", source["configMap"]["name"], source["configMap"])
        elif "downwardAPI" in source:
            files |= _downward(pod, source["downwardAPI"])
        elif "serviceAccountToken" not in source:  # the node gives KUBECONFIG instead of a token
            message = f"a projected volume of {', '.join(source)} is not to be had on this node"
            raise VolumeRefused(message)
    return files


async def _chosen(kube: Kube, kind: str, name: str, source: Object) -> dict[str, bytes]:
    data = await read_data(kube, kind, name, optional=bool(source.get("optional")))
    items = source.get("items")
    if items is None:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not source.get("optional"):
        message = f"references non-existent {kind.lower()} key: {missing[0]}"
        raise VolumeMissing(message)
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


async def read_data(kube: Kube, kind: str, name: str, *, optional: bool = False) -> dict[str, bytes]:
    """The content of a Secret or ConfigMap as bytes by key."""
    found = await kube.find(kind, name)
    if found is None:
        if optional:
            return {}
        message = f'{kind.lower()} "{name}" not found'
        raise VolumeMissing(message)
    if kind == "Secret":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    text = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
    return text | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}


def _downward(pod: Object, source: Object) -> dict[str, bytes]:
    return {item["path"]: field_of(pod, item["fieldRef"]["fieldPath"]).encode() for item in source["items"]}


def field_of(pod: Object, path: str) -> str:
    """A field of the Pod, as `fieldRef` names it."""
    metadata, spec = pod["metadata"], pod["spec"]
    plain = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }
    if path in plain:
        return str(plain[path])
    for group in ("labels", "annotations"):
        values: Mapping[str, str] = metadata.get(group) or {}
        if path == f"metadata.{group}":
            return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(values.items()))
        if match := re.fullmatch(rf"metadata\.{group}\['(.+)'\]", path):
            return values.get(match[1], "")
    message = f"fieldRef {path} is not known on this node"
    raise VolumeRefused(message)


def _inside(path: str) -> Path:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        message = f"path {path!r} leads out of its volume"
        raise VolumeRefused(message)
    return Path(pure)


class PathMap:
    """Replaces mount paths by the folders that stand for them, wherever one begins a path."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = {str(PurePosixPath(path)): str(target) for path, target in paths.items()}
        longest_first = sorted(self._paths, key=len, reverse=True)
        choices = "|".join(re.escape(path) for path in longest_first)
        self._pattern = re.compile(rf"(?<![\w./~-])(?:{choices})(?![\w.-])") if choices else None

    def rewrite(self, text: str) -> str:
        if not self._pattern:
            return text
        return self._pattern.sub(lambda match: self._paths[match[0]], text)


def path_map(container: Object, volumes: Mapping[str, Path], termination: Path) -> PathMap:
    """The map for one container: its mounts, and the file of its termination message."""
    paths = {str(container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH): termination}
    for mount in container.get("volumeMounts") or []:
        if mount["name"] in volumes:
            paths[mount["mountPath"]] = volumes[mount["name"]] / _inside(mount.get("subPath") or ".")
    return PathMap(paths)
