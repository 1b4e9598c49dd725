"""The real service over HTTP on a real local API server; nothing runs Pods here unless a test brings it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from goldenpipe.service import running
from goldenpipe.settings import Settings
from goldenpipe_local.api import ApiServer
from support.rest import Rest


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer(tmp_path / "cluster") as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, max_builds=2)


@pytest.fixture
async def rest(api: ApiServer, settings: Settings) -> AsyncIterator[Rest]:
    async with running(settings, kubeconfig=api.kubeconfig) as service, aiohttp.ClientSession() as session:
        yield Rest(service.address, session)
