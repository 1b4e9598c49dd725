"""docs/troubleshooting.md quotes sentences that the programs really say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.markdown import ROOT, read, rows

QUOTED = [quote for cells in rows(read("docs/troubleshooting.md")) for quote in re.findall(r'"([^"]+)"', cells[0])]


@pytest.mark.parametrize("sentence", QUOTED)
def test_a_quoted_sentence_is_one_that_is_said(sentence: str) -> None:
    fragments = [part.strip() for part in sentence.split("…") if len(part.strip()) > 1]
    assert fragments
    told = [text for text in messages() if all(part in text for part in fragments)]
    assert told, f"nothing says {fragments}"


@cache
def messages() -> frozenset[str]:
    """Every text in the programs; what an f-string fills in is left out."""
    folders = ("server", "steps", "local", "kube")
    return frozenset(text for folder in folders for path in (ROOT / folder).rglob("*.py") for text in texts(path))


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "…".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
