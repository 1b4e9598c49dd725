"""Plain HTTP on the local API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from support.api import Api
from support.target import Target


@pytest.fixture
async def target(local_api: ApiServer, kube: Kube) -> AsyncIterator[Target]:
    async with Api.connect(local_api.kubeconfig) as api:
        yield Target(api=api, kube=kube, namespace=kube.namespace)


@pytest.fixture
def api(target: Target) -> Api:
    return target.api
