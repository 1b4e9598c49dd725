"""Who may ask, and what is there to be asked."""

from __future__ import annotations

from support.api import Api
from support.target import Target


async def test_a_wrong_token_is_turned_away(target: Target, api: Api) -> None:
    answer = await api.call("GET", target.core("pods"), headers={"Authorization": "Bearer wrong"})
    assert answer.status == 401
    assert answer.reason == "Unauthorized"


async def test_unknown_paths_are_not_found(target: Target, api: Api) -> None:
    for path in ("/api/v1/nonsense", "/apis/nonsense/v1/jobs", target.core("nonsense"), "/nonsense"):
        assert (await api.call("GET", path)).status == 404, path


async def test_wrong_methods_are_told_so(target: Target, api: Api) -> None:
    answer = await api.call("PUT", target.core("configmaps"), {})
    assert answer.status == 405
    assert answer.reason == "MethodNotAllowed"


async def test_health_is_told(api: Api) -> None:
    for path in ("/healthz", "/readyz", "/livez"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.body) == (200, b"ok")


async def test_discovery_tells_the_kinds_that_are_served(api: Api) -> None:
    assert (await api.call("GET", "/version")).body["major"] == "1"
    assert (await api.call("GET", "/api")).body["versions"] == ["v1"]
    groups = [group["name"] for group in (await api.call("GET", "/apis")).body["groups"]]
    assert {"batch", "coordination.k8s.io", "authorization.k8s.io"} <= set(groups)
    served = (await api.call("GET", "/apis/batch/v1")).body
    assert served["groupVersion"] == "batch/v1"
    by_name = {entry["name"]: entry for entry in served["resources"]}
    assert by_name["jobs"]["kind"] == "Job"
    assert by_name["jobs"]["namespaced"] is True
    assert "watch" in by_name["jobs"]["verbs"]
    assert "jobs/status" in by_name


async def test_one_may_ask_what_one_may_do(target: Target, api: Api) -> None:
    asked = {"namespace": target.namespace, "verb": "create", "group": "batch", "resource": "jobs"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    answer = await api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert answer.status == 201
    assert answer.body["status"]["allowed"] is True
