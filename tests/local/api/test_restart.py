"""What survives the end of the server, and what does not have to."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
import yaml

from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer
from support.api import Api
from support.objects import a_config

_WRITER = """
import asyncio, sys
from pathlib import Path
from goldenpipe_kube import Kube
from goldenpipe_local.api import ApiServer

async def main():
    async with ApiServer(Path(sys.argv[1])) as server, await Kube.connect(server.kubeconfig) as kube:
        for number in range(1000000):
            await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}})
            print(number, flush=True)

asyncio.run(main())
"""


async def test_objects_versions_and_address_survive_a_restart(tmp_path: Path) -> None:
    async with ApiServer(tmp_path) as server, await Kube.connect(server.kubeconfig) as kube:
        address, kubeconfig = server.address, server.kubeconfig.read_text()
        created = await kube.create(a_config())
    async with ApiServer(tmp_path) as server, await Kube.connect(server.kubeconfig) as kube:
        assert server.address == address
        assert server.kubeconfig.read_text() == kubeconfig
        assert await kube.get("ConfigMap", "one") == created
        newer = await kube.create(a_config("two"))
        assert int(newer["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_a_watch_goes_on_over_a_restart_and_misses_nothing(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/goldenpipe-system/configmaps"
    async with ApiServer(tmp_path) as server, Api.connect(server.kubeconfig) as api:
        seen = (await api.call("GET", path)).body["metadata"]["resourceVersion"]
        await api.call("POST", path, a_config("before"))
        await api.call("DELETE", f"{path}/before")
    async with (
        ApiServer(tmp_path) as server,
        Api.connect(server.kubeconfig) as api,
        api.watch(f"{path}?resourceVersion={seen}") as watch,
    ):
        assert await watch.told(2) == [("ADDED", "before"), ("DELETED", "before")]


async def test_every_write_that_was_answered_survives_kill_9(tmp_path: Path) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    async with asyncio.timeout(30):
        # past the first check-point, in the midst of writing
        while (line := await writer.stdout.readline()) and int(line) < 700:
            pass
    writer.send_signal(signal.SIGKILL)
    answered = [int(line)] + [int(rest) for rest in (await writer.stdout.read()).split()]
    await writer.wait()
    async with ApiServer(tmp_path) as server, await Kube.connect(server.kubeconfig) as kube:
        names = {item["metadata"]["name"] for item in await kube.list("ConfigMap")}
    assert {f"c{number}" for number in range(answered[-1] + 1)} <= names


async def test_a_version_older_than_the_history_is_gone(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/goldenpipe-system/configmaps"
    async with ApiServer(tmp_path, history=10) as server, Api.connect(server.kubeconfig) as api:
        for number in range(12):
            await api.call("POST", path, a_config(f"c{number}"))
        async with api.watch(f"{path}?resourceVersion=1") as watch:
            (event,) = await watch.rest()
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired"


async def test_a_shorter_history_after_a_restart_is_kept_to(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/goldenpipe-system/configmaps"
    async with ApiServer(tmp_path) as server, Api.connect(server.kubeconfig) as api:
        for number in range(12):
            await api.call("POST", path, a_config(f"c{number}"))
    async with (
        ApiServer(tmp_path, history=5) as server,
        Api.connect(server.kubeconfig) as api,
        api.watch(f"{path}?resourceVersion=2") as watch,
    ):
        (event,) = await watch.rest()
    assert event["object"]["code"] == 410


async def test_a_page_of_a_list_begun_before_a_restart_has_to_be_listed_again(tmp_path: Path) -> None:
    path = "/api/v1/namespaces?limit=1"
    async with ApiServer(tmp_path) as server, Api.connect(server.kubeconfig) as api:
        page = (await api.call("GET", path)).body["metadata"]["continue"]
    async with ApiServer(tmp_path) as server, Api.connect(server.kubeconfig) as api:
        answer = await api.call("GET", f"{path}&continue={page}")
    assert (answer.status, answer.body["reason"]) == (410, "Expired")


async def test_a_quiet_watch_gets_bookmarks(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/goldenpipe-system/configmaps"
    async with (
        ApiServer(tmp_path, bookmark_seconds=0.05) as server,
        Api.connect(server.kubeconfig) as api,
        api.watch(f"{path}?allowWatchBookmarks=true") as watch,
    ):
        mark = await watch.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["kind"] == "ConfigMap"
        assert int(mark["object"]["metadata"]["resourceVersion"]) > 0


async def test_a_taken_port_is_exchanged_and_the_kubeconfigs_say_so(tmp_path: Path) -> None:
    async with ApiServer(tmp_path) as server:
        address = server.address
    port = int(address.rpartition(":")[2])
    squatter = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with squatter, ApiServer(tmp_path) as server, await Kube.connect(server.kubeconfig) as kube:
        assert server.address != address
        await kube.healthy()
        for user in ("goldenpipe-step", "node", "jobs"):
            document = yaml.safe_load(server.kubeconfig_of(user).read_text())
            assert document["clusters"][0]["cluster"]["server"] == server.address
    squatter.close()


async def test_nobody_else_can_read_tokens_keys_or_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    async with ApiServer(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = [path for path in folder.iterdir() if path.is_file()]
        assert {"kubeconfig", "kubeconfig-goldenpipe-step", "tokens.yaml", "objects.sqlite", "server.pem"} <= {
            p.name for p in files
        }
        # the write-ahead log of SQLite takes after the database
        open_to_others = [path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []


async def test_objects_of_another_version_of_goldenpipe_are_left_alone(tmp_path: Path) -> None:
    async with ApiServer(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "objects.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(RuntimeError, match="another version of goldenpipe"):
        async with ApiServer(tmp_path):
            pass


async def test_a_certificate_that_was_lost_is_made_anew(tmp_path: Path) -> None:
    async with ApiServer(tmp_path):
        pass
    os.truncate(tmp_path / "server.pem", 100)
    async with ApiServer(tmp_path) as server, await Kube.connect(server.kubeconfig) as kube:
        await kube.healthy()
