"""The real service, for documents that show what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_local.cluster import LocalCluster
from support.rest import Rest


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A folder laid over the built-in templates."""
    folder = tmp_path / "overlay"
    for name in ("steps", "pipelines"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
async def rest(tmp_path: Path, overlay: Path) -> AsyncIterator[Rest]:
    settings = Settings(data_dir=tmp_path / "data", port=0, templates=(overlay,))
    async with (
        LocalCluster(settings.data_dir) as cluster,
        running(settings, kubeconfig=cluster.kubeconfig) as service,
        aiohttp.ClientSession() as session,
    ):
        yield Rest(service.address, session)
