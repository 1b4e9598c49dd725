"""Step and pipeline templates: their heads, checked, and the Job a step runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from goldenpipe.templating.bundle import Bundle, TemplateError
from goldenpipe.templating.leaves import OMIT, Renderer, read_document, read_documents

Object = dict[str, Any]
Model = TypeVar("Model", "StepTemplate", "Pipeline")

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
STEP_NAME = r"^[a-z][a-z0-9_]{0,40}$"
JOB = "jobs/step.yaml"
"""The Job that every step extends."""
MANIFEST_KINDS = (
    "ConfigMap",
    "DataSource",
    "DataVolume",
    "PersistentVolumeClaim",
    "Secret",
    "Service",
    "VirtualMachine",
)
"""What a step's manifests may make: the kinds that the service's Role lets it create and take away again."""


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and value and (match := _DURATION.fullmatch(value)):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds
    return value


def _timeout(value: Any) -> Any:
    """An expression waits until there is something to work it out with; anything else is a number of seconds now."""
    return value if isinstance(value, str) and "{{" in value else _positive(_seconds(value))


def _positive(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        message = f"is {value!r}; seconds or a duration such as 1h30m are expected"
        raise ValueError(message)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        message = f"must be text, this is {value!r}; put it in quotes"
        raise ValueError(message)
    return value


Text = Annotated[str, PlainValidator(_text)]
"""Text that stays the object that was read, for that knows its line."""
Timeout = Annotated[int | str, PlainValidator(_timeout)]


class StepTemplate(BaseModel):
    """A step: one YAML file. `docs/templates.md` explains every field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=STEP_NAME)
    summary: str = Field(min_length=1)
    when: Text = "true"
    message: str = ""
    timeout: Timeout = 1800
    retries: int = Field(default=2, ge=0, le=10)
    weight: int = Field(default=1, ge=1, le=1000)
    needs_vm: bool = False
    api: bool = False
    service_account: Text | None = None
    ends_vm: bool = False
    manifests: list[str] = Field(default_factory=list)
    input: Object = Field(default_factory=dict)
    image: Text | None = None
    command: list[Text] | None = None
    env: dict[str, Text] = Field(default_factory=dict)
    job: Object = Field(default_factory=dict)

    @property
    def path(self) -> str:
        return step_path(self.name)


class Pipeline(BaseModel):
    """A pipeline: which requests it is for, and its steps in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    summary: str
    when: Text
    order: int = 100
    steps: list[str] = Field(min_length=1)

    @property
    def path(self) -> str:
        return f"pipelines/{self.name}.yaml"


def step_path(name: str) -> str:
    return f"steps/{name}.yaml"


def read_step(bundle: Bundle, name: str) -> StepTemplate:
    """The step's head, checked; the file's name and the step's name must agree."""
    path = step_path(name)
    return _step(path, bundle.text(path), name)


@lru_cache(maxsize=512)
def _step(path: str, text: str, name: str) -> StepTemplate:
    return _read(StepTemplate, path, text, name)


def read_pipelines(bundle: Bundle) -> list[Pipeline]:
    """All pipelines, those with the smallest `order` first: the first whose `when` is true is taken."""
    paths = sorted(path for path in bundle.files if re.fullmatch(r"pipelines/[^/]+\.yaml", path))
    found = [_read(Pipeline, path, bundle.text(path), path.split("/")[1].removesuffix(".yaml")) for path in paths]
    return sorted(found, key=lambda pipeline: pipeline.order)


def _read(model: type[Model], path: str, text: str, name: str) -> Model:
    document = read_document(path, text)
    try:
        found = model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise TemplateError(path, line_of(document, first["loc"]), f"{place}: {_words(first['msg'])}") from error
    if found.name != name:
        raise TemplateError(path, line_of(document, ("name",)), f"is named {found.name!r}; the file says {name!r}")
    return found


def _words(message: str) -> str:
    return message.replace("Extra inputs are not permitted", "there is no such field").removeprefix("Value error, ")


def line_of(document: Any, place: tuple[int | str, ...], *, whole: bool = False) -> int | None:
    """The line of a key (or value), as far down as the place can be followed; with `whole` None if it ends early."""
    line = None
    for part in place:
        if isinstance(document, dict) and part in document:
            line = next((getattr(key, "line", line) for key in document if key == part), line)
            document = document[part]
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
            line = getattr(document, "line", line)
        elif whole:
            return None
    return line


def head_of(step: StepTemplate, renderer: Renderer) -> Object:
    """What manifests and Job may read of the step's head, with its timeout in seconds."""
    head = step.model_dump(include={"name", "summary", "retries", "needs_vm", "api"})
    account = renderer.fill(step.path, step.service_account)
    return {**head, "timeout": _timeout_of(step, renderer), "service_account": account}


def _timeout_of(step: StepTemplate, renderer: Renderer) -> int:
    try:
        return _positive(_seconds(renderer.fill(step.path, step.timeout)))
    except ValueError as error:
        raise TemplateError(step.path, getattr(step.timeout, "line", None), f"timeout: {error}") from error


def render_manifests(bundle: Bundle, step: StepTemplate, renderer: Renderer) -> list[Object]:
    """The objects that must exist before the step's Job does, in order; those whose `$if` is not true are left out."""
    found = []
    for name in step.manifests:
        path = f"manifests/{name}"
        for document in read_documents(path, bundle.text(path)):
            _check_manifest(path, document)
            filled = renderer.fill(path, document)
            if filled is not OMIT:
                found.append(filled)
    return found


def _check_manifest(path: str, document: Any) -> None:
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in MANIFEST_KINDS:
        message = f"a step may make {', '.join(MANIFEST_KINDS)}; this is {f'a {kind}' if kind else 'no object'}"
        raise TemplateError(path, line_of(document, ("kind",)), message)
    if not isinstance(document.get("metadata"), dict) or "name" not in document["metadata"]:
        raise TemplateError(path, line_of(document, ("metadata",)), "metadata.name is missing")


def render_input(step: StepTemplate, renderer: Renderer) -> Object:
    filled: Object = renderer.fill(step.path, step.input)
    return filled


def render_job(bundle: Bundle, step: StepTemplate, renderer: Renderer) -> Object:
    """The step's Job: the common one, with the step's own entries laid over it."""
    job = read_document(JOB, bundle.text(JOB))
    filled: Object = merge(renderer.fill(JOB, job), renderer.fill(step.path, _own(step)))
    return filled


def _own(step: StepTemplate) -> Object:
    container: Object = {"name": "step"}
    if step.image:
        container |= {"image": step.image, "command": None}  # the image's own command, unless the step names one
    if step.command:
        container["command"] = step.command
    if step.env:
        container["env"] = [{"name": key, "value": value} for key, value in step.env.items()]
    own: Object = merge({"spec": {"template": {"spec": {"containers": [container]}}}}, step.job)
    return own


def merge(base: Any, over: Any) -> Any:
    """Mappings are merged, lists of named things by name, everything else is replaced; null removes."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
        return {key: value for key, value in merged.items() if value is not None}
    if _named(base) and _named(over):
        by_name = {item["name"]: item for item in base}
        for item in over:
            by_name[item["name"]] = merge(by_name.get(item["name"], {}), item)
        return list(by_name.values())
    return over


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)
