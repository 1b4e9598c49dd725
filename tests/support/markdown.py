"""The project's documents as tests read them: code blocks, table rows, words in backticks, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(?P<language>\w*)(?P<note>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of code."""

    language: str
    note: str
    text: str


def read(path: str) -> str:
    """A document by its path below the project's root."""
    return (ROOT / path).read_text()


def blocks(text: str, language: str) -> list[Block]:
    found = (Block(**match.groupdict()) for match in _BLOCK.finditer(text))
    return [block for block in found if block.language == language]


def without_blocks(text: str) -> str:
    return _BLOCK.sub("", text)


def words(text: str) -> list[str]:
    """What stands between backticks, outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of each table, without the lines under the heads."""
    for line in without_blocks(text).splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", without_blocks(text))


def documents() -> list[Path]:
    """Every document of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
