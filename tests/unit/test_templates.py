"""Rendering: what a template may do, and how its faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldenpipe.lint import job_context, lint, sample_requests
from goldenpipe.templating.answers import answers
from goldenpipe.templating.bundle import Bundle, TemplateError
from goldenpipe.templating.leaves import Renderer, read_document
from goldenpipe.templating.steps import StepTemplate, merge, read_pipelines, read_step, render_job


def fill(text: str, **context: object) -> object:
    return Renderer(context).fill("t.yaml", read_document("t.yaml", text))


def test_one_expression_keeps_its_type_and_other_text_stays_text() -> None:
    assert fill("a: '{{ n }}'\nb: 'n={{ n }}'", n=5) == {"a": 5, "b": "n=5"}


def test_a_value_of_a_request_can_never_become_structure_or_template() -> None:
    evil = "x\nspec: {hostNetwork: true} # {{ 1 + 1 }}"
    assert fill("name: '{{ name }}'", name=evil) == {"name": evil}


def test_omit_and_if_drop_what_they_stand_in() -> None:
    text = "a: '{{ omit }}'\nb:\n  $if: yes_please\n  c: 1\nd:\n- $if: not yes_please\n  e: 1\n- 2"
    assert fill(text, yes_please=True) == {"b": {"c": 1}, "d": [2]}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: '{{ guess }}'", 2, "'guess' is undefined"),
        ("a: 1\nb: '{{ 1 + }}'", 2, "not valid Jinja"),
        ("a: 1\nb: ]", 2, "not valid YAML"),
        ("a: 1\na: 2", 2, "stands here twice"),
        ("a: '{{ \"\".__class__.__mro__ }}'", 1, "__class__"),
        ("a: '{{ [].append(1) }}'", 1, "unsafe|not allowed|not safely"),
        ("a: '{{ 1 / 0 }}'", 1, "division"),
    ],
)
def test_a_fault_names_the_line_its_author_wrote(text: str, line: int, words: str) -> None:
    with pytest.raises(TemplateError, match=words) as caught:
        fill(text)
    assert caught.value.line == line


def test_lists_of_named_things_are_merged_by_name_and_null_removes() -> None:
    base = {"containers": [{"name": "step", "image": "a", "env": [{"name": "A", "value": "1"}]}], "x": 1}
    over = {"containers": [{"name": "step", "image": "b", "env": [{"name": "B", "value": "2"}]}], "x": None}
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert merge(base, over) == {"containers": [{"name": "step", "image": "b", "env": env}]}


def test_every_built_in_template_renders_and_is_accepted_by_the_schema() -> None:
    assert lint() == []


def deadline_of(timeout: str) -> int:
    """The deadline of the Job of a step with this timeout."""
    text = f"name: wait\nsummary: Wait\ntimeout: {timeout}\n"
    bundle = Bundle(files={**Bundle.read().files, "steps/wait.yaml": text})
    step = read_step(bundle, "wait")
    job = render_job(bundle, step, Renderer(job_context(bundle, step, next(sample_requests()))))
    seconds: int = job["spec"]["activeDeadlineSeconds"]
    return seconds


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("90", 90), ("1h30m", 5400), ('"{{ settings.ssh_timeout_seconds * 2 }}"', 600), ('"{{ 1 + 1 }}m"', 120)],
)
def test_a_steps_timeout_is_a_number_a_duration_or_worked_out_from_the_settings(timeout: str, seconds: int) -> None:
    assert deadline_of(timeout) == seconds


@pytest.mark.parametrize("timeout", ["0", "soon", "-5", '"{{ settings.storage_class }}"', '"{{ 0 }}"', "true"])
def test_a_timeout_that_is_none_is_a_fault_of_its_line(timeout: str) -> None:
    with pytest.raises(TemplateError, match="timeout") as caught:
        deadline_of(timeout)
    assert (caught.value.path, caught.value.line) == ("steps/wait.yaml", 3)


def test_every_pipeline_has_its_steps_and_every_step_belongs_to_one() -> None:
    bundle = Bundle.read()
    used = {step for pipeline in read_pipelines(bundle) for step in pipeline.steps}
    there = {path[6:-5] for path in bundle.files if path.startswith("steps/")}
    assert used == there


def test_a_step_gets_no_more_than_it_declares() -> None:
    bundle = Bundle.read()
    api = {name for name in read_pipelines(bundle)[0].steps if read_step(bundle, name).api}
    assert api == {"download_iso", "create_vm", "seal_image", "publish_image"}


def test_samples_cover_all_and_nothing() -> None:
    nothing, *everything = sample_requests()
    assert not any(nothing["customizations"].values())
    assert all(value for request in everything for value in request["customizations"].values())
    assert {request["base_iso_url"].rpartition(".")[2] for request in everything} == {"iso", "qcow2"}


def test_an_overlay_replaces_one_file_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "ours.sh").write_text("#!/bin/sh\n")
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "write_files.yaml").write_text("name: write_files\nsummary: Ours\n")
    bundle = Bundle.read([tmp_path])
    assert "ours.sh" in bundle.scripts
    assert read_step(bundle, "write_files").summary == "Ours"
    assert read_step(bundle, "create_users").summary != "Ours"


def test_a_manifest_that_the_service_could_not_take_away_again_is_refused(tmp_path: Path) -> None:
    for folder in ("steps", "manifests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "manifests/net.yaml").write_text("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n")
    (tmp_path / "steps/net.yaml").write_text("name: net\nsummary: x\nmanifests: [net.yaml]\n")
    (finding,) = lint([tmp_path])
    assert (finding.path, finding.line) == ("manifests/net.yaml", 2)
    assert "NetworkPolicy" in finding.message


def test_when_and_input_cannot_use_what_is_known_only_later(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps/late.yaml").write_text("name: late\nsummary: x\ninput:\n  a: '{{ facts.os_id }}'\n")
    (finding,) = lint([tmp_path])
    assert (finding.path, finding.line) == ("steps/late.yaml", 4)


def test_a_teams_own_image_runs_its_own_command() -> None:
    step = StepTemplate(name="scan", summary="Scan", image="registry.example/scanner:1")
    files = {"jobs/step.yaml": Bundle.read().files["jobs/step.yaml"]}
    context = job_context(Bundle(files), step, next(sample_requests()))
    job = render_job(Bundle(files), step, Renderer(context))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/scanner:1"
    assert "command" not in container


def test_lint_names_file_and_line_of_every_fault_of_an_overlay(tmp_path: Path) -> None:
    for folder in ("steps", "pipelines"):
        (tmp_path / folder).mkdir()
    (tmp_path / "steps/typo.yaml").write_text("name: typo\nsummary: x\njob:\n  spec:\n    backOffLimit: 3\n")
    (tmp_path / "steps/extra.yaml").write_text("name: extra\nsummary: x\ncolour: red\n")
    (tmp_path / "steps/guess.yaml").write_text('name: guess\nsummary: x\nneeds_vm: true\ncommand: ["{{ guest.ip }}"]\n')
    (tmp_path / "pipelines/mine.yaml").write_text("name: mine\nsummary: x\nwhen: 'false'\nsteps: [nowhere]\n")
    found = {(finding.path, finding.line) for finding in lint([tmp_path])}
    assert found == {
        ("steps/typo.yaml", 5),
        ("steps/extra.yaml", 3),
        ("steps/guess.yaml", 4),
        ("pipelines/mine.yaml", None),
    }


def test_an_answer_file_is_filled_from_what_its_manifest_may_use() -> None:
    bundle = Bundle({"answers/a.cfg": "host {{ name }}\n{{ answer('b.sh') }}", "answers/b.sh": "echo {{ name }}"})
    assert fill("a: '{{ answer(\"a.cfg\") }}'", name="x", answer=answers(bundle)) == {"a": "host x\necho x"}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("one\ntwo {{ guess }}", "answers/a.cfg:2", "'guess' is undefined"),
        ("one\n\n{% if %}", "answers/a.cfg:3", "not valid Jinja"),
        ("one\n{{ 1 / 0 }}\n", "answers/a.cfg:2", "division"),
        ("{{ answer('none.cfg') }}", "answers/none.cfg", "no such answer file; there are: answers/a.cfg"),
    ],
)
def test_a_fault_in_an_answer_file_names_the_file_and_the_line_there(text: str, place: str, words: str) -> None:
    bundle = Bundle({"answers/a.cfg": text})
    with pytest.raises(TemplateError, match=words) as caught:
        fill("a: '{{ answer(\"a.cfg\") }}'", answer=answers(bundle))
    assert str(caught.value).startswith(f"{place}: ")


def test_lint_finds_an_answer_file_that_its_installer_could_not_read(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "team.xml").write_text("<a>{{ request.name }}</b>")
    (tmp_path / "answers" / "team.yaml").write_text("a: [{{ request.cpu }}\n")
    (tmp_path / "answers" / "team.cfg").write_text("fine\n{{ settings.no_such_setting }}\n")
    found = {finding.path: finding for finding in lint([tmp_path])}
    assert "not well-formed XML" in found["answers/team.xml"].message
    assert "not valid YAML" in found["answers/team.yaml"].message
    assert found["answers/team.cfg"].line == 2
