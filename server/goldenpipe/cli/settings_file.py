"""`--settings FILE`: what the service has to know of its cluster, as YAML (docs/settings.md)."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from goldenpipe.cli.errors import CliError
from goldenpipe.settings import ClusterSettings


@dataclass(config=ConfigDict(extra="forbid"), frozen=True, kw_only=True)
class _Checked(ClusterSettings):
    """The same fields, with their types and names checked."""


def read_settings(path: Path) -> ClusterSettings:
    """The settings of a file; all that is wrong with it at once."""
    try:
        document = yaml.safe_load(path.read_text()) or {}
        return TypeAdapter(_Checked).validate_python(document)
    except (OSError, yaml.YAMLError) as error:
        raise CliError(f"cannot read the settings in {path}: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {_words(e['msg'])}" for e in error.errors())
        raise CliError(f"the settings in {path} are wrong: {faults}", hint="docs/settings.md lists them.") from error


def _words(message: str) -> str:
    return message.replace("Unexpected keyword argument", "there is no such setting")
