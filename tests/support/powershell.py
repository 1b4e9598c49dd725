"""Windows PowerShell's grammar, as far as it can be had without Windows: of version 5.1, so what only PowerShell 7
knows is a fault."""

from __future__ import annotations

from functools import cache

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_powershell.language()))


def syntax_faults(text: str) -> list[str]:
    """Each place that the grammar does not know, with its line."""
    data = text.encode()
    root = _parser().parse(data).root_node
    return list(_faults(root, data)) if root.has_error else []


def _faults(node: Node, data: bytes) -> list[str]:
    here = node.is_error or node.is_missing
    words = data[node.start_byte : node.end_byte].decode(errors="replace")[:60]
    own = [f"line {node.start_point[0] + 1}: {words!r}"] if here else []
    return [*own, *(fault for child in node.children for fault in _faults(child, data))]


def commands(text: str) -> set[str]:
    """Names of all commands that the text calls, in lower case."""
    return set(_commands(_parser().parse(text.encode()).root_node))


def _commands(node: Node) -> list[str]:
    own = [node.text.decode().lower()] if node.type == "command_name" and node.text else []
    return [*own, *(name for child in node.children for name in _commands(child))]
