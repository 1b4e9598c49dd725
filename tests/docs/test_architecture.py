"""docs/architecture.md: its tables and the step's input document are those of the code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import yaml

from goldenpipe.model.status import BuildState, Target, image_status
from support.markdown import ROOT, blocks, read, rows
from support.rest import Rest

TEXT = read("docs/architecture.md")
ROWS = [[cell.strip("`") for cell in cells] for cells in rows(TEXT)]


def test_the_table_of_states_is_that_of_the_code() -> None:
    documented = {cells[0]: cells[1] for cells in ROWS if cells[0] in set(BuildState)}
    assert documented == {state.value: image_status(state, Target.PRESENT).value for state in BuildState}


def test_the_layers_are_the_contract_that_lint_checks() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    section = TEXT.partition("| layer |")[2].partition("\n\n")[0]
    documented = [set(re.findall(r"`([a-z]+)`", line.split("|")[1])) for line in section.splitlines()[2:]]
    helpers = {"changes", "tasks"}
    assert documented == [set(layer.split(" | ")) - helpers for layer in layers]


def test_every_room_is_a_folder_with_that_package() -> None:
    for folder, package, *_ in (cells for cells in ROWS if cells[0].endswith("/") and len(cells) == 4):
        assert (ROOT / folder / ("" if package == "–" else package)).is_dir()


async def test_the_input_document_has_the_fields_that_a_step_reads(rest: Rest, overlay: Path) -> None:
    step = {"name": "look", "summary": "Show the input", "command": ["sh", "-c", "cat $GOLDENPIPE_INPUT"]}
    pipeline = {"name": "linux-disk", "summary": "Of a test", "when": "true", "steps": ["look"]}
    (overlay / "steps/look.yaml").write_text(yaml.safe_dump(step))
    (overlay / "pipelines/linux-disk.yaml").write_text(yaml.safe_dump(pipeline))
    await rest.create("a")
    await rest.end("a")
    (documented,) = (json.loads(block.text) for block in blocks(TEXT, "json"))
    real = json.loads(await rest.text("/api/v1/images/a/steps/look/logs"))
    assert documented.keys() == real.keys()
