"""What the API refuses, and what it fills in."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from goldenpipe_kube import Invalid
from support.api import MERGE, Api
from support.objects import a_config, a_job, a_pod
from support.target import Target


def causes(body: Any) -> list[tuple[str, str]]:
    return [(cause["field"], cause["reason"]) for cause in body["details"]["causes"]]


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dash-", "a..b", "x" * 254])
async def test_a_name_that_is_no_dns_subdomain_is_refused(target: Target, api: Api, name: str) -> None:
    answer = await api.call("POST", target.core("configmaps"), a_config(name))
    assert answer.status == 422
    assert answer.reason == "Invalid"
    assert ("metadata.name", "FieldValueInvalid") in causes(answer.body)


async def test_names_with_dots_are_allowed_where_dns_subdomains_are(target: Target) -> None:
    assert await target.kube.create(a_config("debian-12.golden"))


async def test_an_object_without_a_name_is_refused(target: Target, api: Api) -> None:
    answer = await api.call("POST", target.core("configmaps"), {"metadata": {}})
    assert answer.status == 422
    assert ("metadata.name", "FieldValueRequired") in causes(answer.body)


async def test_a_job_name_has_at_most_63_characters(target: Target, api: Api) -> None:
    assert (await api.call("POST", target.jobs(), a_job("x" * 63))).status == 201
    answer = await api.call("POST", target.jobs(), a_job("x" * 64))
    assert answer.status == 422


@pytest.mark.parametrize("labels", [{"key": "v" * 64}, {"key": "bad value"}, {"bad key": "v"}, {"a/b/c": "v"}])
async def test_labels_that_break_the_syntax_are_refused(target: Target, api: Api, labels: dict[str, str]) -> None:
    answer = await api.call("POST", target.core("configmaps"), a_config(labels=labels))
    assert answer.status == 422
    assert ("metadata.labels", "FieldValueInvalid") in causes(answer.body)


async def test_a_key_of_a_secret_is_a_file_name(target: Target, api: Api) -> None:
    body = {"metadata": {"name": "one"}, "stringData": {"etc/motd": "hello"}}
    answer = await api.call("POST", target.core("secrets"), body)
    assert answer.status == 422
    assert "etc/motd" in answer.body["message"]


async def test_plain_text_of_a_secret_is_kept_as_data(target: Target) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "one"},
        "data": {"kept": base64.b64encode(b"old").decode(), "both": base64.b64encode(b"old").decode()},
        "stringData": {"both": "nëw"},
    }
    secret = await target.kube.create(body)
    assert "stringData" not in secret
    assert secret["type"] == "Opaque"
    assert {key: base64.b64decode(value).decode() for key, value in secret["data"].items()} == {
        "kept": "old",
        "both": "nëw",
    }


async def test_an_immutable_secret_stays_as_it_is(target: Target) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "immutable": True}
    await target.kube.create({**body, "stringData": {"a": "1"}})
    with pytest.raises(Invalid, match="immutable"):
        await target.kube.patch("Secret", "one", {"stringData": {"a": "2"}})


async def test_more_than_a_mebibyte_in_a_config_map_is_refused(target: Target, api: Api) -> None:
    answer = await api.call("POST", target.core("configmaps"), {**a_config(), "data": {"key": "x" * (1024 * 1024 + 1)}})
    assert answer.status == 422


async def test_a_job_gets_defaults_selector_and_labels(target: Target) -> None:
    job = await target.kube.create(a_job())
    spec, uid = job["spec"], job["metadata"]["uid"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (6, 1, 1)
    assert spec["completionMode"] == "NonIndexed"
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "one",
        "controller-uid": uid,
        "job-name": "one",
    }
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 30
    assert pod["containers"][0]["terminationMessagePolicy"] == "File"
    assert pod["containers"][0]["imagePullPolicy"] == "IfNotPresent"


async def test_a_job_with_a_failure_policy_waits_for_its_pod_to_end(target: Target) -> None:
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    job = await target.kube.create(a_job(podFailurePolicy=policy))
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"] == "True"


async def test_a_job_whose_pods_would_restart_is_refused(target: Target, api: Api) -> None:
    job = a_job()
    job["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    answer = await api.call("POST", target.jobs(), job)
    assert answer.status == 422
    assert ("spec.template.spec.restartPolicy", "FieldValueRequired") in causes(answer.body)
    assert answer.body["message"].startswith('Job.batch "one" is invalid: ')


async def test_all_faults_of_a_pod_are_told_at_once(target: Target, api: Api) -> None:
    pod = a_pod()
    pod["spec"]["containers"] = [{"name": "Bad", "image": "x", "volumeMounts": [{"name": "none", "mountPath": "/x"}]}]
    answer = await api.call("POST", target.core("pods"), pod)
    assert answer.status == 422
    assert {field for field, _ in causes(answer.body)} == {
        "spec.containers[0].name",
        "spec.containers[0].volumeMounts[0].name",
    }


async def test_the_template_of_a_job_cannot_be_changed(target: Target, api: Api) -> None:
    job = await target.kube.create(a_job(suspend=False, parallelism=0))
    job["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    answer = await api.call("PATCH", target.jobs("one"), {"spec": job["spec"]}, content_type=MERGE)
    assert answer.status == 422
    assert causes(answer.body) == [("spec.template", "FieldValueInvalid")]
    assert answer.body["message"].endswith("field is immutable")


async def test_an_unknown_field_is_refused_if_validation_is_strict(target: Target, api: Api) -> None:
    answer = await api.call("POST", f"{target.jobs()}?fieldValidation=Strict", a_job(backOffLimit=1))
    assert answer.status == 400
    assert 'strict decoding error: unknown field "spec.backOffLimit"' in answer.body["message"]


async def test_an_unknown_field_is_dropped_with_a_warning_else(target: Target, api: Api) -> None:
    answer = await api.call("POST", target.jobs(), a_job(backOffLimit=1))
    assert answer.status == 201
    assert "backOffLimit" not in answer.body["spec"]
    assert answer.headers["warning"] == ['299 - "unknown field \\"spec.backOffLimit\\""']


async def test_an_event_lies_in_the_namespace_of_what_it_is_about(target: Target, api: Api) -> None:
    about = {"kind": "Pod", "name": "one", "namespace": "default"}
    body = {"metadata": {"name": "one"}, "involvedObject": about, "reason": "Test"}
    answer = await api.call("POST", target.core("events"), body)
    assert answer.status == 422
    body["involvedObject"] = {**about, "namespace": target.namespace}
    assert (await api.call("POST", target.core("events"), body)).status == 201


@pytest.mark.parametrize("body", [b"{", b"[1, 2]", b'"text"', b""])
async def test_a_body_that_is_no_object_is_a_bad_request(target: Target, api: Api, body: bytes) -> None:
    answer = await api.call("POST", target.core("configmaps"), body)
    assert answer.status == 400
    assert answer.reason == "BadRequest"


async def test_null_is_an_object_of_which_nothing_is_said(target: Target, api: Api) -> None:
    answer = await api.call("POST", target.core("configmaps"), b"null")
    assert answer.status == 422
    assert causes(answer.body) == [("metadata.name", "FieldValueRequired")]


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": "text"},
        {"metadata": {"name": 7}},
        {"metadata": {"name": "one"}, "spec": "text"},
        {"metadata": {"name": "one"}, "spec": {"template": []}},
        {"metadata": {"name": "one"}, "spec": {"template": {"spec": {"containers": "text"}}}},
        {"metadata": {"name": "one"}, "spec": {"template": {"spec": {"containers": [{"env": 1}]}}}},
        {"metadata": {"name": "one", "labels": ["a"]}, "spec": {}},
        {"metadata": {"name": "one", "finalizers": "a"}, "spec": {}},
        {"metadata": {"name": "one", "finalizers": {"a": "b"}}, "spec": {}},
        {"metadata": {"name": "one", "ownerReferences": {}}, "spec": {}},
        {"metadata": {"name": "one"}, "spec": {"podFailurePolicy": [], "backoffLimit": "x"}},
    ],
)
async def test_fields_of_a_wrong_type_never_break_the_server(target: Target, api: Api, body: object) -> None:
    answer = await api.call("POST", target.jobs(), body)
    assert answer.status in {400, 422}
    assert answer.body["kind"] == "Status"


async def test_a_status_that_is_no_object_is_refused(target: Target, api: Api) -> None:
    await target.kube.create(a_job())
    answer = await api.call("PATCH", target.jobs("one", "status"), {"status": "text"}, content_type=MERGE)
    assert answer.status == 422
    assert causes(answer.body) == [("patch", "FieldValueInvalid")]


async def test_a_job_cannot_say_of_itself_that_more_pods_are_ready_than_run(target: Target, api: Api) -> None:
    await target.kube.create(a_job())
    patch = {"status": {"active": 0, "ready": 1}}
    answer = await api.call("PATCH", target.jobs("one", "status"), patch, content_type=MERGE)
    assert answer.status == 422
    assert causes(answer.body) == [("status.ready", "FieldValueInvalid")]


async def test_an_object_of_another_kind_is_refused(target: Target, api: Api) -> None:
    answer = await api.call("POST", target.core("configmaps"), a_pod())
    assert answer.status == 400


async def test_an_object_of_another_namespace_is_refused(target: Target, api: Api) -> None:
    answer = await api.call("POST", target.core("configmaps"), a_config(namespace="default"))
    assert answer.status == 400
    assert "does not match the namespace" in answer.body["message"]


async def test_a_body_of_an_unknown_type_is_refused(target: Target, api: Api) -> None:
    answer = await api.call("POST", target.core("configmaps"), b"name: one", content_type="text/plain")
    assert answer.status == 415
