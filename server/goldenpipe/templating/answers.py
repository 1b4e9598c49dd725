"""Answer files: whole texts in `answers/`, in whatever language the installer reads, with Jinja in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

from goldenpipe.templating.bundle import Bundle, TemplateError
from goldenpipe.templating.leaves import render_text

ANSWERS = "answers/"


def answers(bundle: Bundle) -> Callable[[Context, str], str]:
    """What templates call as `answer("NAME")`: the file's text, filled from everything the caller may use."""

    @pass_context
    def answer(context: Context, name: str) -> str:
        return render_answer(bundle, f"{ANSWERS}{name}", context.get_all())

    return answer


def render_answer(bundle: Bundle, path: str, context: Mapping[str, Any]) -> str:
    if path not in bundle.files:
        known = ", ".join(answer_paths(bundle)) or "none"
        raise TemplateError(path, None, f"there is no such answer file; there are: {known}")
    return render_text(path, bundle.files[path], context)


def answer_paths(bundle: Bundle) -> list[str]:
    return sorted(path for path in bundle.files if path.startswith(ANSWERS))
