"""The ISO images that carry configuration into a guest: cloud-init, answer files, Secrets and ConfigMaps."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from goldenpipe_kube import Kube, Object
from goldenpipe_local.node.disks.content import content_of
from goldenpipe_local.node.pods.volumes import read_data
from goldenpipe_local.node.vms.hardware import HardwareRefused, Image, firmware_uuid
from goldenpipe_local.node.vms.iso import CLOUD_INIT_LABEL, write_iso

_SYSPREP_LABEL = "unattendCD"
_ANSWER_FILES = ("autounattend.xml", "unattend.xml")
_MADE_HERE = ("cloudInitNoCloud", "secret", "configMap", "sysprep")


def images_of(instance: Object, machine: Path, claims: Path) -> dict[str, Image]:
    """The file behind each volume of an instance."""
    images = {}
    for volume in instance["spec"].get("volumes") or []:
        name = str(volume["name"])
        if "dataVolume" in volume:
            images[name] = _of_claim(claims / volume["dataVolume"]["name"])
        elif "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]
            images[name] = _of_claim(claims / claim["claimName"], read_only=bool(claim.get("readOnly")))
        elif any(kind in volume for kind in _MADE_HERE):
            images[name] = Image(path=_iso(machine, name), format="raw", read_only=True)
        else:
            kinds = ", ".join(key for key in volume if key != "name")
            message = f"volume {name}: {kinds} is not supported on this node"
            raise HardwareRefused(message)
    return images


def _of_claim(claim: Path, *, read_only: bool = False) -> Image:
    content = content_of(claim)
    if content is None:
        message = f"claim {claim.name} holds no disk"
        raise HardwareRefused(message)
    return Image(path=content.path, format=content.format, read_only=read_only)


async def write_media(kube: Kube, instance: Object, machine: Path) -> None:
    """Write the images that are not there yet; raises `VolumeMissing` while what goes into one is not to be had."""
    for volume in instance["spec"].get("volumes") or []:
        path = _iso(machine, str(volume["name"]))
        if path.exists() or not any(kind in volume for kind in _MADE_HERE):
            continue
        label, files = await _content(kube, instance, volume)
        write_iso(path, label, files)


async def _content(kube: Kube, instance: Object, volume: Object) -> tuple[str, dict[str, bytes]]:
    if "cloudInitNoCloud" in volume:
        return CLOUD_INIT_LABEL, await _no_cloud(kube, instance, volume["cloudInitNoCloud"])
    if "secret" in volume:
        source = volume["secret"]
        files = await read_data(kube, "Secret", source["secretName"], optional=bool(source.get("optional")))
        return source.get("volumeLabel") or "", files
    if "configMap" in volume:
        source = volume["configMap"]
        files = await read_data(kube, "ConfigMap", source["name"], optional=bool(source.get("optional")))
        return source.get("volumeLabel") or "", files
    return _SYSPREP_LABEL, await _sysprep(kube, volume["sysprep"])


async def _no_cloud(kube: Kube, instance: Object, source: Object) -> dict[str, bytes]:
    user, network = await _cloud_init_data(kube, source)
    files = {"meta-data": _meta_data(instance), "user-data": user}
    if network:
        files["network-config"] = network
    return files


async def _cloud_init_data(kube: Kube, source: Object) -> tuple[bytes, bytes]:
    user = _inline(source, "userData")
    network = _inline(source, "networkData")
    if "secretRef" in source:
        data = await read_data(kube, "Secret", source["secretRef"]["name"])
        user = data.get("userdata") or data.get("userData") or user
        # KubeVirt takes both from one Secret when it holds both
        network = data.get("networkdata") or data.get("networkData") or network
    if "networkDataSecretRef" in source:
        data = await read_data(kube, "Secret", source["networkDataSecretRef"]["name"])
        network = data.get("networkdata") or data.get("networkData") or network
    return user, network


def _inline(source: Object, field: str) -> bytes:
    if source.get(f"{field}Base64"):
        return base64.b64decode(source[f"{field}Base64"])
    return str(source.get(field) or "").encode()


def _meta_data(instance: Object) -> bytes:
    spec = instance["spec"]
    name = spec.get("hostname") or instance["metadata"]["name"].partition(".")[0]
    # cloud-init runs anew exactly when this changes
    document = {"instance-id": firmware_uuid(instance), "local-hostname": name}
    return json.dumps(document).encode()


async def _sysprep(kube: Kube, source: Object) -> dict[str, bytes]:
    kind, field = ("Secret", "secret") if "secret" in source else ("ConfigMap", "configMap")
    files = await read_data(kube, kind, source[field]["name"])
    if not any(name.lower() in _ANSWER_FILES for name in files):
        message = f"{kind} {source[field]['name']} holds neither autounattend.xml nor unattend.xml"
        raise HardwareRefused(message)
    return files


def _iso(machine: Path, volume: str) -> Path:
    return machine / f"{volume}.iso"
