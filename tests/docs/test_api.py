"""docs/api.md tells every route, and its examples have the shape of what the service really answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from goldenpipe import errors
from goldenpipe.api.app import make_app
from goldenpipe.api.images import LIST_PARAMETERS
from goldenpipe.api.role import Role
from goldenpipe.metrics import Metrics
from goldenpipe.model.request import Customizations, ImageRequest, RequestContext, User, WindowsSetup, parse_request
from goldenpipe.model.status import ImageStatus, StepStatus
from goldenpipe.templating.bundle import Bundle
from support.markdown import blocks, read, rows, words
from support.rest import Rest

TEXT = read("docs/api.md")
JSON = blocks(TEXT, "json")
EXAMPLES: dict[str, Any] = {block.note.strip(): json.loads(block.text) for block in JSON if block.note.strip()}


def test_every_route_has_a_section_and_no_other() -> None:
    routes = make_app(cast("Role", None), Metrics()).router.routes()
    served = {f"{route.method} {route.resource.canonical}" for route in routes if route.resource}
    served -= {f"HEAD {line.partition(' ')[2]}" for line in served}
    assert set(re.findall(r"^### `(.+)`$", TEXT, re.MULTILINE)) == served


@pytest.mark.parametrize("block", JSON, ids=lambda block: block.note.strip() or "unnamed")
def test_every_example_is_json(block: Any) -> None:
    assert json.loads(block.text)


def test_the_example_request_is_accepted_and_shows_every_field() -> None:
    request = EXAMPLES["request"]
    context = RequestContext(scripts=Bundle.read().scripts, file_urls=False)
    assert isinstance(parse_request(request, context), ImageRequest)
    assert request.keys() | {"base_checksum", "accept_eula", "windows"} == ImageRequest.model_fields.keys()
    assert request["customizations"].keys() == Customizations.model_fields.keys()
    user = {field.alias or name for name, field in User.model_fields.items()}
    assert request["customizations"]["users"][0].keys() == user


def test_the_windows_example_is_accepted_and_shows_every_field() -> None:
    request = EXAMPLES["windows"]
    context = RequestContext(scripts=Bundle.read().scripts, file_urls=False)
    assert isinstance(parse_request(request, context), ImageRequest)
    assert request["windows"].keys() == WindowsSetup.model_fields.keys()


def test_every_field_parameter_status_and_word_is_explained() -> None:
    explained = {cells[0].strip("`") for cells in rows(TEXT)}
    assert ImageRequest.model_fields.keys() <= explained
    assert Customizations.model_fields.keys() <= explained
    assert explained >= LIST_PARAMETERS
    statuses = {str(kind.status) for kind in vars(errors).values() if hasattr(kind, "status")}
    assert statuses | {"405"} <= explained
    assert {*ImageStatus, *StepStatus} <= set(words(TEXT))


def test_every_metric_is_named() -> None:
    gauges = Metrics().text(active_vms=0, queued=0, running=0, storage_bytes=0, leads=True).decode()
    for family in text_string_to_metric_families(gauges):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in TEXT


async def test_the_examples_have_the_fields_of_real_answers(rest: Rest, tmp_path: Path) -> None:
    created = await rest.create("debian-golden", base_iso_url=(tmp_path / "missing.qcow2").as_uri())
    status = await rest.end("debian-golden")
    image = await rest.get("/api/v1/images/debian-golden")
    listed = await rest.get("/api/v1/images?limit=50")
    assert created.keys() == EXAMPLES["created"].keys()
    assert created["image"].keys() == EXAMPLES["created"]["image"].keys()
    assert status.keys() == EXAMPLES["status"].keys()
    assert {key for step in status["steps"] for key in step} == {
        key for step in EXAMPLES["status"]["steps"] for key in step
    }
    assert image.keys() == EXAMPLES["image"].keys()
    assert image["error"].keys() == EXAMPLES["image"]["error"].keys()
    assert listed.keys() == EXAMPLES["list"].keys()
    assert listed["images"][0].keys() | {"size"} == EXAMPLES["list"]["images"][0].keys()
    assert (await rest.get("/api/v1/metrics")).keys() == EXAMPLES["metrics"].keys()
    assert await rest.get("/api/v1/health") == EXAMPLES["health"]
    assert (await rest.get("/api/v1/vms")).keys() == EXAMPLES["vms"].keys()
    assert (await rest.call("DELETE", "/api/v1/images/debian-golden"))[1] == EXAMPLES["deleted"]
