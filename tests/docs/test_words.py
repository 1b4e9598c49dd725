"""What every document refers to exists: links, verbs of make, commands and flags of `goldenpipe`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from goldenpipe.cli.app import COMMANDS, goldenpipe
from support.markdown import ROOT, blocks, documents, links, read, words

DOCUMENTS = pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
VERBS = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))


@DOCUMENTS
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(path: Path) -> set[str]:
    """The names of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@DOCUMENTS
def test_verbs_of_make_exist(path: Path) -> None:
    named = re.findall(r"\bmake ([a-z-]+)", " ; ".join(commands(path)))
    assert set(named) <= VERBS


@DOCUMENTS
def test_commands_and_flags_exist(path: Path) -> None:
    context = click.Context(goldenpipe)
    for line in commands(path):
        for called in re.findall(r"(?<![\w/.-])goldenpipe ([a-z][^|;&()#]*)", line):
            name, *arguments = shlex.split(called)
            assert name in COMMANDS, line
            command = goldenpipe.get_command(context, name)
            assert command is not None
            known = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
            assert {word.partition("=")[0] for word in arguments if word.startswith("-")} <= known, line


def commands(path: Path) -> list[str]:
    """Lines of shell blocks, and what stands between backticks."""
    text = path.read_text()
    return [line for block in blocks(text, "sh") for line in block.text.splitlines()] + words(text)
