"""The texts of all templates as one value: built-in folder, overlays on top, read afresh for every new build."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

BUILT_IN = Path(__file__).resolve().parents[1] / "templates"
_LARGEST_FILE = 1024 * 1024
"""Bytes; what is larger is no template and would not fit a Secret either."""


class TemplateError(Exception):
    """A template is wrong: which file, which line, and what."""

    def __init__(self, path: str, line: int | None, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path, self.line, self.message = path, line, message


@dataclass(frozen=True)
class Bundle:
    """Template texts by their path below the templates folder, for example `steps/create_vm.yaml`."""

    files: Mapping[str, str]

    @classmethod
    def read(cls, overlays: Iterable[Path] = (), *, built_in: Path = BUILT_IN) -> Bundle:
        """Read the folders; a file of a later folder replaces the same path of an earlier one."""
        files: dict[str, str] = {}
        for folder in (built_in, *overlays):
            if not folder.is_dir():
                raise TemplateError(str(folder), None, "is not a folder; check --templates")
            for path in sorted(folder.rglob("*")):
                relative = path.relative_to(folder)
                hidden = any(part.startswith(".") for part in relative.parts)  # ConfigMap mounts hold ..data
                if path.is_file() and not hidden:
                    files[relative.as_posix()] = _text(path)
        return cls(files)

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()

    @property
    def scripts(self) -> list[str]:
        """Names of the script library."""
        return sorted(path.removeprefix("scripts/") for path in self.files if path.startswith("scripts/"))

    def text(self, path: str) -> str:
        try:
            return self.files[path]
        except KeyError:
            raise TemplateError(path, None, "there is no such template") from None


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST_FILE:
        raise TemplateError(
            str(path), None, "is larger than 1 MiB; keep large files on a server and fetch them in a script"
        )
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise TemplateError(str(path), None, f"is not UTF-8 text: {error}") from error
