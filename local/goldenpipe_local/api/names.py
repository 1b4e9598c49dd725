"""The syntax of names, labels and annotations."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from goldenpipe_local.api.errors import Fault, invalid_value

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_FILE_KEY = re.compile(r"[-._a-zA-Z0-9]+")

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_FILE_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_ANNOTATIONS_LIMIT = 256 * 1024


def random_suffix() -> str:
    """Five letters and digits of which no words can be made, as the real apiserver appends them."""
    return "".join(random.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH))


def generated_name(prefix: str) -> str:
    return prefix[: 63 - _SUFFIX_LENGTH] + random_suffix()


def check_subdomain(path: str, name: str, *, longest: int = 253) -> Iterator[Fault]:
    if len(name) > longest:
        yield invalid_value(path, name, f"must be no more than {longest} bytes")
    if not _SUBDOMAIN.fullmatch(name):
        yield invalid_value(path, name, _SUBDOMAIN_RULE)


def check_label_name(path: str, name: str) -> Iterator[Fault]:
    """A name of the kind that hosts have: no dots, 63 characters."""
    if len(name) > 63:
        yield invalid_value(path, name, "must be no more than 63 bytes")
    if not _LABEL.fullmatch(name):
        yield invalid_value(path, name, _LABEL_RULE)


def check_file_key(path: str, key: str) -> Iterator[Fault]:
    """A key of a Secret or ConfigMap, which becomes a file name."""
    if len(key) > 253:
        yield invalid_value(path, key, "must be no more than 253 characters")
    if not _FILE_KEY.fullmatch(key):
        yield invalid_value(path, key, _FILE_KEY_RULE)
    elif key == ".." or key.startswith("../") or key == ".":
        yield invalid_value(path, key, f"must not be '{key}'")


def check_labels(path: str, labels: Any) -> Iterator[Fault]:
    if not _is_map_of_strings(labels):
        yield invalid_value(path, "", "must be a map of strings to strings")
        return
    for key, value in labels.items():
        yield from _check_key(path, key)
        if len(value) > 63:
            yield invalid_value(path, value, "must be no more than 63 bytes")
        if not _VALUE.fullmatch(value):
            yield invalid_value(path, value, _VALUE_RULE)


def check_annotations(path: str, annotations: Any) -> Iterator[Fault]:
    if not _is_map_of_strings(annotations):
        yield invalid_value(path, "", "must be a map of strings to strings")
        return
    for key in annotations:
        yield from _check_key(path, key.lower())
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        message = f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"
        yield Fault(path=path, reason="FieldValueTooLong", message=message)


def _check_key(path: str, key: str) -> Iterator[Fault]:
    prefix, slash, name = key.rpartition("/")
    if slash and (not _SUBDOMAIN.fullmatch(prefix) or len(prefix) > 253):
        yield invalid_value(path, key, f"prefix part {_SUBDOMAIN_RULE}")
    if len(name) > 63:
        yield invalid_value(path, key, "name part must be no more than 63 bytes")
    if not _QUALIFIED.fullmatch(name):
        yield invalid_value(path, key, _QUALIFIED_RULE)


def _is_map_of_strings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for pair in value.items() for item in pair)
