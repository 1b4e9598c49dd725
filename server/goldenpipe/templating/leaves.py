"""Reading YAML with line numbers, and filling Jinja into its leaves.

A leaf that is exactly one `{{ expression }}` becomes the expression's own value (a number, a list, a mapping); any
other text is rendered as text. `omit` drops the entry it stands in, and so does a mapping's `$if` when it is not true.
Jinja is sandboxed and an undefined name is an error.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import yaml
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError
from jinja2.environment import TemplateExpression
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from goldenpipe.templating.bundle import TemplateError

_ONE_EXPRESSION = re.compile(r"\s*\{\{(?P<expression>(?:(?!\}\}|\{\{).)*)\}\}\s*", re.DOTALL)


class Leaf(str):
    """A text of a YAML file that knows its line."""

    __slots__ = ("line",)
    line: int


class _Omit:
    """The value of `omit`."""


OMIT = _Omit()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml's loader where it is there: it reads ten times faster."""


def _leaf(loader: _Loader, node: yaml.ScalarNode) -> Leaf:
    leaf = Leaf(loader.construct_scalar(node))
    leaf.line = node.start_mark.line + 1
    return leaf


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        name = loader.construct_object(key)
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands here twice", key.start_mark)
        seen.add(name)
    mapping: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:str", _leaf)
_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


@lru_cache(maxsize=512)
def read_documents(path: str, text: str) -> tuple[Any, ...]:
    """All documents of a YAML text; `TemplateError` with the line where it is not YAML.

    Every build reads the same texts over and over: who asks again gets the same values, and must not change them.
    """
    try:
        return tuple(document for document in yaml.load_all(text, _Loader) if document is not None)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise TemplateError(path, line, f"is not valid YAML: {error.problem}") from error


def read_document(path: str, text: str) -> Any:
    """The one document of a YAML text."""
    documents = read_documents(path, text)
    if len(documents) != 1:
        raise TemplateError(path, None, f"holds {len(documents)} YAML documents, one is expected")
    return documents[0]


_JINJA: Final = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True, autoescape=False
)


@lru_cache(maxsize=1024)
def _template(text: str) -> Template:
    return _JINJA.from_string(text)


@lru_cache(maxsize=1024)
def _expression(text: str) -> TemplateExpression:
    return _JINJA.compile_expression(text, undefined_to_none=False)


def render_text(path: str, text: str, context: Mapping[str, Any]) -> str:
    """A whole text that is no YAML; `TemplateError` with the line of the first fault."""
    return str(_guarded(path, None, lambda: _template(text).render(context)))


class Renderer:
    """Fills leaves from one context."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = {**context, "omit": OMIT}

    def fill(self, path: str, data: Any) -> Any:
        """The data with every leaf rendered; `TemplateError` with the file and line of the first fault."""
        match data:
            case {"$if": condition, **rest}:
                return self.fill(path, rest) if self.test(path, condition) else OMIT
            case dict():
                filled = {self.fill(path, key): self.fill(path, value) for key, value in data.items()}
                return {key: value for key, value in filled.items() if value is not OMIT}
            case list():
                return [value for value in (self.fill(path, item) for item in data) if value is not OMIT]
            case str():
                return self._leaf(path, data)
            case _:
                return data

    def test(self, path: str, expression: str) -> bool:
        """Whether an expression without braces, as in `when:`, is true."""
        return bool(_guarded(path, _line(expression), lambda: self._evaluate(expression)))

    def _leaf(self, path: str, text: str) -> Any:
        if "{{" not in text and "{%" not in text:
            return str(text)
        one = _ONE_EXPRESSION.fullmatch(text)
        if one and "{%" not in text:
            return _guarded(path, _line(text), lambda: self._evaluate(one["expression"]))
        return _guarded(path, _line(text), lambda: _template(text).render(self._context))

    def _evaluate(self, expression: str) -> Any:
        value = _expression(expression)(**self._context)
        if isinstance(value, StrictUndefined):
            value._fail_with_undefined_error()
        return value


def _line(text: str) -> int | None:
    """The line of a leaf that knows it; texts of no file know none."""
    return getattr(text, "line", None)


def _guarded(path: str, line: int | None, render: Callable[[], Any]) -> Any:
    """What `render` gives; its faults with the file and this line, or else the line that Jinja names."""
    try:
        return render()
    except TemplateSyntaxError as error:
        raise TemplateError(path, line or error.lineno, f"is not valid Jinja: {error.message}") from error
    except UndefinedError as error:
        message = f"{error.message} (docs/templates.md lists what a template may use)"
        raise TemplateError(path, line or _line_of(error), message) from error
    except SecurityError as error:
        message = f"is not allowed in a template: {error.message}"
        raise TemplateError(path, line or _line_of(error), message) from error
    except TemplateError:
        raise
    except Exception as error:
        raise TemplateError(path, line or _line_of(error), f"{type(error).__name__}: {error}") from error


def _line_of(error: Exception) -> int | None:
    """The template's line, where the error came through one: Jinja writes it into the traceback."""
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == "<template>"]
    return lines[-1] if lines else None
