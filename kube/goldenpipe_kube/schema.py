"""Checking objects of Kubernetes' own kinds against the client library's typed models, without a cluster."""

from __future__ import annotations

from kubernetes.aio import client
from pydantic import BaseModel, ValidationError

from goldenpipe_kube.kinds import Object


def schema_faults(obj: Object) -> list[str]:
    """What an apiserver would refuse of the object's structure; empty for kinds the library does not know."""
    version = str(obj.get("apiVersion", "")).rpartition("/")[2].capitalize()
    model: type[BaseModel] | None = getattr(client, f"{version}{obj.get('kind')}", None)
    if model is None:
        return []
    try:
        model.model_validate(obj)
    except ValidationError as error:
        return [f"{_path(item['loc'])}: {_words(item['msg'])}" for item in error.errors(include_url=False)]
    return []


def _words(message: str) -> str:
    return message.replace("Extra inputs are not permitted", "there is no such field")


def _path(parts: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
