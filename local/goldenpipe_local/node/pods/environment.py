"""The environment, command and arguments that a container's process gets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from goldenpipe_kube import Kube, Object
from goldenpipe_local.node.pods.volumes import PathMap, VolumeMissing, field_of, read_data

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$(\$|\((?P<name>[-._A-Za-z0-9]+)\))")


StepKubeconfig = Callable[[str], Path | None]
"""The kubeconfig with the token of a service account; None if there is none."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to execute."""

    argv: list[str]
    env: dict[str, str]


async def build_command(
    kube: Kube, pod: Object, paths: PathMap, home: Path, of_account: StepKubeconfig | None
) -> Command:
    """`$(VAR)` is replaced first, as the kubelet does; then mount paths."""
    container = pod["spec"]["containers"][0]
    own = await _own_environment(kube, pod, container)
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    argv = [paths.rewrite(expand(word, own)) for word in words]
    env = _node_environment(pod, home) | {key: paths.rewrite(value) for key, value in own.items()}
    if of_account and pod["spec"].get("automountServiceAccountToken") is not False:
        kubeconfig = of_account(pod["spec"].get("serviceAccountName") or "default")
        if kubeconfig:
            env.setdefault("KUBECONFIG", str(kubeconfig))
    return Command(argv=argv, env=env)


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$` a dollar; unknown names stay as they are."""

    def replace(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        return env.get(match["name"], match[0])

    return _REFERENCE.sub(replace, text)


def _node_environment(pod: Object, home: Path) -> dict[str, str]:
    programs = Path(sys.executable).parent  # where goldenpipe-step is; not resolved, as a venv's python is a link
    return {
        "PATH": f"{programs}{os.pathsep}{SYSTEM_PATH}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "HOSTNAME": str(pod["metadata"]["name"]),
        "LANG": "C.UTF-8",
    }


async def _own_environment(kube: Kube, pod: Object, container: Object) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        kind = "Secret" if "secretRef" in source else "ConfigMap"
        reference = source["secretRef" if kind == "Secret" else "configMapRef"]
        data = await read_data(kube, kind, reference["name"], optional=bool(reference.get("optional")))
        env |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
    for variable in container.get("env") or []:
        value = await _value(kube, pod, variable)
        if value is not None:
            env[variable["name"]] = expand(value, env)
    return env


async def _value(kube: Kube, pod: Object, variable: Object) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value") or "")
    if "fieldRef" in source:
        return field_of(pod, source["fieldRef"]["fieldPath"])
    kind, field = ("Secret", "secretKeyRef") if "secretKeyRef" in source else ("ConfigMap", "configMapKeyRef")
    reference = source[field]
    optional = bool(reference.get("optional"))
    data = await read_data(kube, kind, reference["name"], optional=optional)
    if reference["key"] in data:
        return data[reference["key"]].decode()
    if optional:
        return None
    message = f"couldn't find key {reference['key']} in {kind} {reference['name']}"
    raise VolumeMissing(message)
