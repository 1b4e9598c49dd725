"""What handlers find in the application, with types."""

from __future__ import annotations

from aiohttp import web

from goldenpipe.images import Images
from goldenpipe.metrics import Metrics

IMAGES: web.AppKey[Images] = web.AppKey("images", Images)
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
