"""What the README tells people to type works."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from goldenpipe.lint import lint
from goldenpipe.model.request import ImageRequest, RequestContext, parse_request
from goldenpipe.templating.bundle import Bundle
from support.markdown import ROOT, blocks, read
from support.rest import Object, Rest

TEXT = read("README.md")
STEP = next(block.text for block in blocks(TEXT, "yaml") if block.note.strip() == "step")


@pytest.fixture
def with_step(overlay: Path) -> Path:
    """The README's step saved, and its shell commands run, where the README says."""
    (overlay / "steps/require_checksum.yaml").write_text(STEP)
    (command,) = (line for line in TEXT.splitlines() if line.startswith("sed "))
    subprocess.run(["sh", "-ec", command.replace("our-templates", str(overlay))], cwd=ROOT, check=True)
    return overlay


def test_the_step_of_the_readme_has_ten_lines_and_no_fault(with_step: Path) -> None:
    assert len(STEP.splitlines()) == 10
    assert lint([with_step]) == []


@pytest.mark.usefixtures("with_step")
async def test_the_step_of_the_readme_stops_a_build_without_a_checksum(rest: Rest) -> None:
    status = await ended(rest, "without")
    assert status["error"] == {"step": "require_checksum", "message": "our images need a base_checksum", "hint": None}
    assert {step["name"]: step["status"] for step in status["steps"]}["download_iso"] == "pending"


@pytest.mark.usefixtures("with_step")
async def test_the_step_of_the_readme_lets_a_build_with_a_checksum_go_on(rest: Rest) -> None:
    checksum = "sha256:" + "0" * 64
    status = await ended(rest, "with", base_checksum=checksum)
    assert status["steps"][0]["status"] == "completed"
    assert status["error"]["step"] == "download_iso"
    assert checksum in await rest.text("/api/v1/images/with/steps/require_checksum/logs")


async def ended(rest: Rest, name: str, **changes: str) -> Object:
    await rest.create(name, base_iso_url="file:///nowhere/base.qcow2", **changes)
    return await rest.end(name)


def test_the_request_of_the_tour_is_valid() -> None:
    body = TEXT.partition("-d '")[2].partition("'\n")[0]
    context = RequestContext(scripts=Bundle.read().scripts, file_urls=True)
    assert isinstance(parse_request(json.loads(body), context), ImageRequest)
