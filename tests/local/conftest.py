"""The local API server on a free port, for the tests of everything that talks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer


@pytest.fixture
async def local_api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer(tmp_path / "cluster") as server:
        yield server


@pytest.fixture
async def kube(local_api: ApiServer) -> AsyncIterator[Kube]:
    """The administrator's connection."""
    async with await Kube.connect(local_api.kubeconfig) as connection:
        yield connection
