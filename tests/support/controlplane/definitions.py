"""The CustomResourceDefinitions of KubeVirt and CDI, from the folder `shared` beside the project where it is there."""

from __future__ import annotations

from pathlib import Path

import yaml

from goldenpipe_kube import Object

_SCHEMAS = Path(__file__).parents[4] / "shared" / "schemas"
_CDI = "cdi-v1.66.0"
KUBEVIRT_NOW, KUBEVIRT_BEFORE = "kubevirt-v1.9.0", "kubevirt-v1.8.4"
_EXPORTS = "virtualmachineexports.export.kubevirt.io"


def missing_definitions() -> str:
    """Why there are none to install; empty if there are."""
    return "" if _SCHEMAS.is_dir() else f"no definitions of KubeVirt and CDI: {_SCHEMAS} is not there"


def definitions(kubevirt: str = KUBEVIRT_NOW) -> list[Object]:
    """Of this KubeVirt and of CDI; none where the folder is not there."""
    paths = [path for name in (kubevirt, _CDI) for path in sorted((_SCHEMAS / name / "crds-slim").glob("*.yaml"))]
    return [_whole(yaml.load(path.read_bytes(), yaml.CSafeLoader)) for path in paths]


def _whole(definition: Object) -> Object:
    """KubeVirt 1.9 also serves exports as v1beta1, deprecated; the files leave such versions out."""
    versions = definition["spec"]["versions"]
    if definition["metadata"]["name"] == _EXPORTS and [each["name"] for each in versions] == ["v1"]:
        versions.append({**versions[0], "name": "v1beta1", "storage": False, "deprecated": True})
    return definition
