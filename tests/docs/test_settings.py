"""docs/settings.md tells every setting with the default it has, and every flag of `serve`."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

import pytest

from goldenpipe.cli.serve import serve
from goldenpipe.settings import ClusterSettings, Settings
from support.markdown import read, rows

FIELDS = (*fields(Settings), *fields(ClusterSettings))
DOCUMENTED = {cells[0].strip("`"): cells[1] for cells in rows(read("docs/settings.md")) if cells[0].startswith("`")}


def words_for_default(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return "the defaults below" if field.default_factory() else "empty"
    match field.default:
        case value if value is MISSING:
            return "required"
        case None | ():
            return "none"
        case True | False:
            return str(field.default).lower()
        case value:
            return f"`{value}`"


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.name))
def test_every_setting_is_documented_with_its_default(field: Field[Any]) -> None:
    assert DOCUMENTED[field.name] == words_for_default(field)


def test_no_setting_is_documented_that_does_not_exist() -> None:
    assert {name for name in DOCUMENTED if not name.startswith("--")} == {field.name for field in FIELDS}


def test_every_flag_of_serve_is_documented_and_no_other() -> None:
    flags = {option for parameter in serve.params for option in parameter.opts}
    assert {name.partition(" ")[0] for name in DOCUMENTED if name.startswith("--")} == flags
