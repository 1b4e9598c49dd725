"""docs/kubevirt-rules.md names files and tests that exist."""

from __future__ import annotations

import re
from functools import cache

import pytest

from support.markdown import ROOT, read, rows

RULES = [cells for cells in rows(read("docs/kubevirt-rules.md")) if cells[0] != "rule"]


@cache
def existing_tests() -> frozenset[str]:
    found = (
        re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
        for path in (ROOT / "tests").rglob("*.py")
    )
    return frozenset(name for names in found for name in names)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0][:60])
def test_a_rule_names_the_place_that_minds_it_and_a_test(rule: list[str]) -> None:
    _, place, test = rule
    assert (ROOT / place.strip("`")).is_file(), place
    assert test.strip("`") in existing_tests(), test
