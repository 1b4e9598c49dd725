"""POST looks at the base image: what it is decides the pipeline, and a server that is slow or away decides nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from goldenpipe.bases import LOOK_SECONDS
from goldenpipe.service import running
from goldenpipe.settings import ClusterSettings, Settings
from goldenpipe_local.api import ApiServer
from support.rest import Object, Rest
from support.templates import Overlay

ISO = (b"\0" * 32768 + b"\x01CD001\x01\0" + b" " * 32 + b"Ubuntu-Server 24.04 LTS amd64".ljust(32)).ljust(70_000, b"\0")
DESKTOP = ISO.replace(b"Ubuntu-Server 24.04", b"Ubuntu 22.04.3 LTS ")
DISK = b"QFI\xfb".ljust(70_000, b"\0")
FILES = {"/latest": ISO, "/renamed.qcow2": ISO, "/disk.iso": DISK, "/image": DISK, "/current.iso": DESKTOP}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    overlay = Overlay(tmp_path).step("one")
    for kind in ("disk", "iso"):
        when = f'request.base_kind == "{kind}"'
        pipeline = {"name": f"of-{kind}", "summary": "x", "when": when, "order": 1, "steps": [f"from_{kind}"]}
        overlay.write(f"pipelines/of-{kind}.yaml", pipeline)
        overlay.write(f"steps/from_{kind}.yaml", {"name": f"from_{kind}", "summary": "x", "command": ["true"]})
    return Settings(data_dir=tmp_path / "data", port=0, templates=(overlay.templates,))


@pytest.fixture
async def site() -> AsyncIterator[str]:
    async def send(request: web.Request) -> web.Response:
        if request.path == "/moved":
            raise web.HTTPFound("/latest")
        if request.path == "/circle.iso":
            raise web.HTTPFound("/circle.iso")
        if request.path not in FILES:
            raise web.HTTPNotFound
        return web.Response(body=FILES[request.path])

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise web.HTTPNotFound

    app = web.Application()
    app.add_routes([web.get("/hangs.iso", hang), web.get("/{path:.*}", send)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def service(settings: Settings, api: ApiServer) -> AsyncIterator[Rest]:
    async with running(settings, kubeconfig=api.kubeconfig) as one, aiohttp.ClientSession() as session:
        yield Rest(one.address, session)


async def first_step(rest: Rest, url: str, name: str = "a") -> str:
    await rest.create(name, base_iso_url=url)
    status: Object = await rest.get(f"/api/v1/images/{name}/status")
    return str(status["steps"][0]["name"])


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("/latest", "from_iso"),
        ("/renamed.qcow2", "from_iso"),
        ("/moved", "from_iso"),
        ("/image", "from_disk"),
        ("/disk.iso", "from_disk"),
        ("/missing.iso", "from_iso"),
        ("/missing.qcow2", "from_disk"),
        ("/circle.iso", "from_iso"),
    ],
)
async def test_the_pipeline_is_chosen_by_what_the_file_is(rest: Rest, site: str, path: str, step: str) -> None:
    assert await first_step(rest, site + path) == step


async def test_a_local_file_is_looked_at_too(rest: Rest, tmp_path: Path) -> None:
    (tmp_path / "base image").write_bytes(ISO)
    assert await first_step(rest, (tmp_path / "base image").as_uri()) == "from_iso"


async def test_the_example_of_the_reference_is_refused_with_what_to_use_instead(rest: Rest) -> None:
    url = "https://releases.ubuntu.com/22.04/ubuntu-22.04.3-desktop-amd64.iso"
    document = {"name": "a", "os_type": "linux", "base_iso_url": url}
    status, body = await rest.call("POST", "/api/v1/images", json=document)
    assert status == 400
    assert "live-server ISO of 22.04" in body["error"]
    assert body["details"][0]["path"] == "base_iso_url"


async def test_a_desktop_iso_under_another_name_is_refused_all_the_same(rest: Rest, site: str) -> None:
    document = {"name": "a", "os_type": "linux", "base_iso_url": f"{site}/current.iso"}
    status, body = await rest.call("POST", "/api/v1/images", json=document)
    assert status == 400, body


async def test_a_server_that_never_answers_costs_the_caller_seconds_and_others_nothing(rest: Rest, site: str) -> None:
    started = time.monotonic()
    slow = asyncio.create_task(first_step(rest, f"{site}/hangs.iso"))
    while not slow.done():
        before = time.monotonic()
        await rest.get("/api/v1/health")
        assert time.monotonic() - before < 1
        await asyncio.wait({slow}, timeout=0.2)
    assert slow.result() == "from_iso"
    assert time.monotonic() - started < LOOK_SECONDS + 3


async def test_switched_off_the_service_calls_nobody(settings: Settings, api: ApiServer, site: str) -> None:
    blind = dataclasses.replace(settings, cluster=ClusterSettings(look_at_base_image=False))
    async with service(blind, api) as rest:
        assert await first_step(rest, f"{site}/latest") == "from_disk"
        assert await first_step(rest, f"{site}/hangs.iso", "b") == "from_iso"
