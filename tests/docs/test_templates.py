"""docs/templates.md tells everything a template may use, and its examples are templates that work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from goldenpipe.lint import job_context, lint, sample_requests
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import Renderer
from goldenpipe.templating.steps import Pipeline, StepTemplate, read_step, render_job
from goldenpipe_steps.kit.iso.unattended import RECIPES
from support.markdown import blocks, read, rows

TEXT = read("docs/templates.md")
NAMES = {cells[0].strip("`") for cells in rows(TEXT)}
DEFAULTS = {cells[0].strip("`"): cells[1] for cells in rows(TEXT) if len(cells) == 3}
EXAMPLES = {block.note.strip(): block.text for block in blocks(TEXT, "yaml") if block.note}


def everything() -> dict[str, Any]:
    """The whole context of a step that gets all there is."""
    bundle = Bundle.read()
    *_, request = sample_requests()
    return job_context(bundle, read_step(bundle, "create_vm"), request)


@pytest.mark.parametrize("model", [StepTemplate, Pipeline])
def test_every_field_is_documented_with_its_default(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        documented = DEFAULTS[name]
        if field.is_required():
            assert documented == "required", name
        elif isinstance(field.default, bool):
            assert documented == f"`{str(field.default).lower()}`", name
        elif isinstance(field.default, int) and name != "timeout":
            assert documented == f"`{field.default}`", name


def test_the_default_of_timeout_is_the_one_documented() -> None:
    assert StepTemplate.model_validate({"name": "a", "summary": "a", "timeout": "30m"}).timeout == 1800
    assert StepTemplate.model_fields["timeout"].default == 1800
    assert DEFAULTS["timeout"] == "`30m`"


def test_every_name_of_the_context_is_documented_and_no_other() -> None:
    context = everything()
    parts = ("image", "build", "guest", "keys", "step")
    real = {f"{part}.{name}" for part in parts for name in context[part]}
    real |= {f"request.{name}" for name in context["request"].keys() - next(sample_requests()).keys()}
    real |= context.keys() - {"image", "build", "step"} | {"omit"}
    section = TEXT.partition("### What a template may use")[2].partition("\n## ")[0]
    assert {cells[0].strip("`") for cells in rows(section)} - {"name"} == real


def test_the_settings_a_template_sees_are_those_of_the_settings_page() -> None:
    assert everything()["settings"].keys() == ClusterSettings.__dataclass_fields__.keys()


def test_every_script_of_the_library_is_listed() -> None:
    assert {name for name in NAMES if name.endswith((".sh", ".ps1"))} == set(Bundle.read().scripts)


def test_the_example_steps_and_pipeline_have_no_fault(tmp_path: Path) -> None:
    for name in ("steps", "pipelines"):
        (tmp_path / name).mkdir()
    for note, text in EXAMPLES.items():
        kind, name = note.split()[0], yaml.safe_load(text)["name"]
        (tmp_path / f"{kind}s" / f"{name}.yaml").write_text(text)
    assert len(EXAMPLES) == 3
    assert lint([tmp_path]) == []
    bundle = Bundle.read([tmp_path])
    job = render_job(bundle, read_step(bundle, "big_step"), Renderer(everything()))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"memory": "2Gi"}, "requests": {"cpu": "50m", "memory": "64Mi"}}


def test_the_example_values_become_what_the_page_says() -> None:
    (values,) = (block.text for block in blocks(TEXT, "yaml") if "cores:" in block.text)
    context = {
        "request": {"cpu": 2, "name": "a", "base_checksum": None},
        "settings": {"preference": None},
    }
    assert Renderer(context).fill("t.yaml", yaml.safe_load(values)) == {"cores": 2, "name": "image-a"}


def test_every_fact_that_lint_gives_to_templates_is_documented_and_no_other() -> None:
    section = TEXT.partition("\n## Facts")[2].partition("\n## ")[0]
    assert {cells[0].strip("`") for cells in rows(section)} - {"fact"} == everything()["facts"].keys()


def test_the_words_for_each_installers_kernel_are_documented() -> None:
    for name, recipe in RECIPES.items():
        assert f"| {name} | `{recipe.words}` |" in read("docs/installers.md")
