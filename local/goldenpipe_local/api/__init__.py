"""A small Kubernetes API server for one machine: the kinds GoldenPipe uses, with the semantics of the real one."""

from __future__ import annotations

from goldenpipe_local.api.server import ApiServer

__all__ = ["ApiServer"]
