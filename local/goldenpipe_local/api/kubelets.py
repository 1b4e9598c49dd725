"""Where a node's own server listens, as the node itself has told."""

from __future__ import annotations

from goldenpipe_local.api.errors import ApiError
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.resources import BY_KEY


def kubelet_address(registry: Registry, node_name: str) -> str:
    node = registry.get(BY_KEY["nodes"], "", node_name).object
    status = node.get("status") or {}
    addresses = {item["type"]: item["address"] for item in status.get("addresses") or []}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    if "InternalIP" not in addresses or not port:
        message = f"the node {node_name} has not said where its logs are served: is it ready?"
        raise ApiError(500, "InternalError", message)
    host = addresses["InternalIP"]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
