"""Reads a request from a file or stdin: JSON, or YAML as Kubernetes users write it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from goldenpipe.cli.errors import CliError

_HINT = "A request is one JSON or YAML object; examples/ has some to start from."


def read_request(source: str) -> dict[str, Any]:
    """The request in file `source`, or on stdin for `-`."""
    text = _read(source)
    place = "stdin" if source == "-" else source
    document = _parse(text, place)
    if not isinstance(document, dict):
        found = "nothing" if document is None else f"a {type(document).__name__}"
        raise CliError(f"{place}: expected an object with name, os_type and base_iso_url, found {found}.", hint=_HINT)
    try:
        json.dumps(document)
    except (TypeError, ValueError) as error:
        raise CliError(f"{place} holds something that JSON has no word for: {error}.", hint=_HINT) from error
    return document


def _read(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text()
    except OSError as error:
        raise CliError(f"cannot read {source}: {(error.strerror or str(error)).lower()}.") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{source} is not text: {error}.", hint=_HINT) from error


def _parse(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        if place.endswith(".json"):
            # YAML would read much broken JSON too, and then complain about something else
            raise CliError(f"{place} is not valid JSON: {error}.", hint=_HINT) from error
    return _parse_yaml(text, place)


def _parse_yaml(text: str, place: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Leaves dates as the text they are: JSON has none, and `version: 2024-01-15` is a label here."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        words = " ".join(str(error).split())
        raise CliError(f"{place} is not valid YAML: {words}.", hint=_HINT) from error
