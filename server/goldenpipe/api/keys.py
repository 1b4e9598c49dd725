"""What handlers find in the application and in a request, with types."""

from __future__ import annotations

from aiohttp import web

from goldenpipe.api.role import Role
from goldenpipe.images import Images
from goldenpipe.metrics import Metrics

ROLE: web.AppKey[Role] = web.AppKey("role", Role)
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
IMAGES: web.RequestKey[Images] = web.RequestKey("images", Images)
"""In every request that this service answers as the leader."""
