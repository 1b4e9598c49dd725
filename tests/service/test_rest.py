"""The REST contract, to the letter, on the real service."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from goldenpipe_kube import Event, Kube
from goldenpipe_local.api import ApiServer
from support.rest import Rest

IMAGES = "/api/v1/images"
PASSWORD = "correct-horse-battery-staple"


def request(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "os_type": "linux", "base_iso_url": "https://images.example/base.qcow2", **changes}


async def test_health_is_healthy_while_cluster_and_store_answer(rest: Rest) -> None:
    assert await rest.call("GET", "/api/v1/health") == (200, {"status": "healthy"})


async def test_health_is_503_with_the_reason_when_the_cluster_is_gone(rest: Rest, api: ApiServer) -> None:
    await api.__aexit__(None, None, None)
    status, body = await rest.call("GET", "/api/v1/health")
    assert status == 503
    assert body["status"] == "unhealthy"
    assert "cluster" in body["error"]


async def test_creating_an_image_answers_what_the_reference_shows(rest: Rest) -> None:
    customizations = {"packages": ["docker"], "scripts": ["install-docker.sh"], "files": {"/etc/motd": "Welcome!\n"}}
    body = await rest.create("ubuntu-22.04-golden", customizations=customizations, labels={"team": "platform"})
    image = body["image"]
    assert body["message"] == "Golden image creation started"
    assert image["status"] == "creating"
    assert image["created_at"] == image["created_at"][:19] + "Z"
    assert image["labels"] == {"team": "platform"}
    assert image["customizations"] == {"packages": ["docker"], "scripts": ["install-docker.sh"]}
    assert image["pvc_name"] == "golden-image-ubuntu-22.04-golden"
    assert image["vm_name"].startswith("golden-image-ubuntu-22.04-golden-")


async def test_the_minimal_curl_example_of_the_reference_works(rest: Rest) -> None:
    body = request("ubuntu-22.04-golden", customizations={"packages": ["docker", "kubectl", "helm"]})
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-X", "POST", rest.address + IMAGES),
        *("-H", "Content-Type: application/json", "-d", json.dumps(body)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert json.loads(output)["message"] == "Golden image creation started"


async def test_the_list_has_the_images_and_their_count(rest: Rest) -> None:
    assert await rest.get(IMAGES) == {"images": [], "count": 0}
    await rest.create("a", labels={"environment": "production"})
    listed = await rest.get(IMAGES)
    assert listed["count"] == 1
    expected = {"name", "os_type", "status", "created_at", "updated_at", "labels", "pvc_name"}
    assert set(listed["images"][0]) == expected


async def test_lists_are_filtered_and_paged(rest: Rest) -> None:
    for name in ("c", "a", "b"):
        await rest.create(name, labels={"team": "x" if name != "b" else "y"})
    assert [i["name"] for i in (await rest.get(f"{IMAGES}?label=team=x"))["images"]] == ["a", "c"]
    assert (await rest.get(f"{IMAGES}?status=pending&os_type=linux"))["images"][0]["name"] == "b"
    page = await rest.get(f"{IMAGES}?limit=2")
    assert [i["name"] for i in page["images"]] == ["a", "b"]
    rest_of_it = await rest.get(f"{IMAGES}?limit=2&continue={page['continue']}")
    assert [i["name"] for i in rest_of_it["images"]] == ["c"]
    assert "continue" not in rest_of_it


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "status=done", "os_type=beos", "label=team", "continue=%FF", "colour=red"],
)
async def test_a_wrong_parameter_is_a_400_that_names_it(rest: Rest, query: str) -> None:
    status, body = await rest.call("GET", f"{IMAGES}?{query}")
    assert status == 400
    assert body["details"][0]["path"] == query.partition("=")[0]


async def test_one_image_has_error_progress_and_duration(rest: Rest) -> None:
    await rest.create("a")
    image = await rest.get(f"{IMAGES}/a")
    assert image["error"] is None
    assert image["progress"] == 0
    assert image["duration_seconds"] >= 0


async def test_the_status_has_every_step_of_the_reference(rest: Rest) -> None:
    await rest.create("a", customizations={"packages": ["curl"]})
    status = await rest.get(f"{IMAGES}/a/status")
    assert status["name"] == "a"
    assert [step["name"] for step in status["steps"]][:2] == ["download_iso", "create_vm"]
    assert {step["status"] for step in status["steps"]} <= {"pending", "in_progress", "skipped"}


async def test_one_who_stops_watching_leaves_the_others_watching(rest: Rest) -> None:
    await rest.create("a")
    leaving, staying = rest.statuses("a"), rest.statuses("a")
    await anext(leaving)
    await anext(staying)
    await leaving.aclose()
    # when the service answers this it has noticed that somebody left, because it was told before
    await rest.get(f"{IMAGES}/a")
    await rest.call("DELETE", f"{IMAGES}/a")
    assert [document["status"] async for document in staying][-1] == "deleting"


async def test_a_second_image_of_the_same_name_is_a_409(rest: Rest) -> None:
    await rest.create("a")
    status, body = await rest.call("POST", IMAGES, json=request("a"))
    assert status == 409
    assert "'a' exists" in body["error"]


async def test_all_faults_of_a_request_come_in_one_400(rest: Rest) -> None:
    status, body = await rest.call("POST", IMAGES, json=request("A", cpu=0, x=1))
    assert status == 400
    assert {fault["path"] for fault in body["details"]} == {"name", "cpu", "x"}
    assert (await rest.get(IMAGES))["count"] == 0


@pytest.mark.parametrize(
    ("method", "path", "arguments", "code"),
    [
        ("POST", IMAGES, {"data": "{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", IMAGES, {"data": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", IMAGES, {"data": "{}", "headers": {"Content-Type": "application/json; charset=nonsense"}}, 400),
        ("POST", IMAGES, {"data": "[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", IMAGES, {"data": "{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", IMAGES, {"data": BytesIO(b"x" * 1_100_000), "headers": {"Content-Type": "application/json"}}, 400),
        ("GET", "/api/v1/nothing", {}, 404),
        ("GET", f"{IMAGES}/none", {}, 404),
        ("GET", f"{IMAGES}/none/status", {}, 404),
        ("GET", f"{IMAGES}/none/status?watch=true", {}, 404),
        ("GET", f"{IMAGES}/none/steps/create_vm/logs", {}, 404),
        ("GET", f"{IMAGES}/none/export", {}, 404),
        ("DELETE", f"{IMAGES}/none", {}, 404),
        ("GET", "/api/v1/vms/none", {}, 404),
        ("DELETE", "/api/v1/vms/none", {}, 404),
        ("PUT", IMAGES, {}, 405),
        ("DELETE", "/api/v1/health", {}, 405),
        ("GET", "/api/v1/images/%2e%2e%2fetc", {}, 404),
    ],
)
async def test_what_a_client_does_wrong_is_told_as_json(
    rest: Rest, method: str, path: str, arguments: dict[str, Any], code: int
) -> None:
    status, body = await rest.call(method, path, **arguments)
    assert status == code, body
    assert body["error"]
    assert "Traceback" not in body["error"]


async def test_an_image_that_is_not_ready_cannot_be_exported(rest: Rest) -> None:
    await rest.create("a")
    status, body = await rest.call("GET", f"{IMAGES}/a/export")
    assert status == 409
    assert "creating" in body["error"]


async def test_metrics_have_the_fields_of_the_reference(rest: Rest) -> None:
    await rest.create("a")
    body = await rest.get("/api/v1/metrics")
    assert set(body) == {"total_images", "active_vms", "failed_images", "storage_used", "last_updated"}
    assert body["total_images"] == 1


async def test_prometheus_can_read_the_metrics(rest: Rest) -> None:
    for name in "abc":
        await rest.create(name)
    families = {family.name: family for family in text_string_to_metric_families(await rest.text("/metrics"))}
    assert families["goldenpipe_queue_depth"].samples[0].value == 1
    assert families["goldenpipe_running_builds"].samples[0].value == 2
    assert "goldenpipe_http_request_duration_seconds" in families


async def test_vms_are_listed_with_a_count(rest: Rest) -> None:
    assert await rest.get("/api/v1/vms") == {"vms": [], "count": 0}


async def test_a_password_is_in_no_answer_no_job_and_no_file(rest: Rest, api: ApiServer, tmp_path: Any) -> None:
    users = [{"name": "admin", "password": PASSWORD, "groups": ["sudo"], "sudo": True}]
    body = await rest.create("a", customizations={"users": users})
    answers = [body, *[await rest.get(f"{IMAGES}{path}") for path in ("", "/a", "/a/status")]]
    assert PASSWORD not in json.dumps(answers)
    async with await Kube.connect(api.kubeconfig) as kube:
        job = await first_job(kube)
        jobs = [job, *await kube.list("Job")]
    assert PASSWORD not in json.dumps(jobs)
    assert "$6$" not in json.dumps([answers, jobs])
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


async def first_job(kube: Kube) -> dict[str, Any]:
    async for event in kube.watch("Job"):
        if isinstance(event, Event):
            return event.object
    raise AssertionError


async def test_deleting_an_image_under_construction_leaves_nothing(rest: Rest, api: ApiServer) -> None:
    await rest.create("a")
    async with await Kube.connect(api.kubeconfig) as kube:
        await first_job(kube)
        assert await rest.call("DELETE", f"{IMAGES}/a") == (200, {"message": "Image deletion started"})
        _ = [document async for document in rest.statuses("a")]
        assert (await rest.call("GET", f"{IMAGES}/a"))[0] == 404
        for kind in ("Job", "Pod", "Secret", "DataVolume", "PersistentVolumeClaim", "VirtualMachine", "DataSource"):
            assert await kube.list(kind, labels="goldenpipe.io/image=a") == [], kind
    await rest.create("a")
