"""What goes on around the API by itself: the scheduler, and Events that are forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from goldenpipe_kube import Kube, Object
from goldenpipe_local.api import ApiServer
from goldenpipe_local.api.database import Database
from goldenpipe_local.api.expiry import EventExpiry
from goldenpipe_local.api.registry import Registry
from goldenpipe_local.api.resources import BY_KEY
from goldenpipe_local.api.selectors import Selector
from goldenpipe_local.api.store import Store
from support.kubelet import Kubelet
from support.objects import a_pod
from support.watching import until, until_gone


def condition(pod: Object) -> Object:
    conditions = pod["status"].get("conditions") or []
    return next((item for item in conditions if item["type"] == "PodScheduled"), {})


async def test_a_pod_that_waits_for_a_node_says_so_and_gets_the_first_that_is_ready(kube: Kube) -> None:
    await kube.create(a_pod())
    waiting = await until(kube, "Pod", lambda pod: bool(condition(pod)))
    assert condition(waiting)["reason"] == "Unschedulable"
    assert condition(waiting)["message"].startswith("0/0 nodes are available")
    await Kubelet(kube=kube).ready()
    bound = await until(kube, "Pod", lambda pod: bool(pod["spec"].get("nodeName")))
    assert bound["spec"]["nodeName"] == "lab"
    assert condition(bound)["status"] == "True"
    # binding is no change that a user made
    assert bound["metadata"]["generation"] == 1
    events = await kube.list("Event", fields="involvedObject.name=one")
    assert {event["reason"] for event in events} == {"FailedScheduling", "Scheduled"}


async def test_a_cordoned_node_gets_no_pods(kube: Kube) -> None:
    await Kubelet(kube=kube).ready()
    await kube.patch("Node", "lab", {"spec": {"unschedulable": True}})
    await kube.create(a_pod())
    await until(kube, "Pod", lambda pod: condition(pod).get("reason") == "Unschedulable")
    await kube.patch("Node", "lab", {"spec": {"unschedulable": None}})
    await until(kube, "Pod", lambda pod: bool(pod["spec"].get("nodeName")))


async def test_pods_that_waited_before_a_restart_are_bound_after_it(local_api: ApiServer, kube: Kube) -> None:
    await kube.create(a_pod())
    await local_api.__aexit__(None, None, None)
    await local_api.__aenter__()
    await Kubelet(kube=kube).ready()
    await until(kube, "Pod", lambda pod: bool(pod["spec"].get("nodeName")))


async def test_garbage_left_by_a_killed_server_is_collected_at_the_next_start(tmp_path: Path) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0000"}
    database = Database.open(tmp_path / "objects.sqlite")
    registry = Registry(Store(database))
    registry.create(BY_KEY["namespaces"], "", {"metadata": {"name": "goldenpipe-system"}})
    # no collector runs here: as if the server had been killed between the owner's deletion and this one's
    registry.create(BY_KEY["pods"], "goldenpipe-system", a_pod(ownerReferences=[owner]))
    await database.close()
    async with ApiServer(tmp_path) as server, await Kube.connect(server.kubeconfig) as kube:
        await until_gone(kube, "Pod", "one")


async def test_events_are_forgotten_after_an_hour(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "objects.sqlite")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    store = Store(database)
    registry = Registry(store, clock=lambda: moment)
    registry.create(BY_KEY["namespaces"], "", {"metadata": {"name": "default"}})
    events = BY_KEY["events"]
    for name, minutes in (("old", 0), ("new", 59)):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
        registry.create(events, "default", {"metadata": {"name": name}, "involvedObject": {"kind": "Job"}})
    EventExpiry(registry, lambda: datetime(2026, 1, 1, 1, 1, tzinfo=UTC)).work()
    assert [stored.object["metadata"]["name"] for stored in store.select(events, Selector())] == ["new"]
    await database.close()
