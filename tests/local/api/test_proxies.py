"""The client and the proxies that the environment names."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldenpipe_kube import Kube, Unreachable
from goldenpipe_local.api import ApiServer


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setenv("no_proxy", "")


async def test_a_cluster_is_reached_through_the_proxy_of_the_environment(local_api: ApiServer, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(local_api.kubeconfig.read_text().replace("127.0.0.1", "192.0.2.1"))
    async with await Kube.connect(elsewhere) as kube:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
            await kube.healthy()


async def test_a_cluster_on_this_machine_is_reached_without_a_proxy(local_api: ApiServer) -> None:
    async with await Kube.connect(local_api.kubeconfig) as kube:
        await kube.healthy()
