"""PowerShell: every text parses as Windows PowerShell 5.1, and what a request holds never becomes a part of it."""

from __future__ import annotations

import base64
import json
import random
import re
from pathlib import Path

import pytest
import yaml

from goldenpipe.templating.bundle import Bundle
from goldenpipe_steps.kit.windows import powershell
from goldenpipe_steps.kit.windows.powershell import RUN, STATE, encode, program, sftp_path, source
from support.powershell import commands, syntax_faults
from support.steps.windows import call_of

FOLDER = Path(powershell.__file__).parent
KIT = {path.stem: path.read_text() for path in FOLDER.glob("*.ps1")}
TEMPLATES = {path: text for path, text in Bundle.read().files.items() if path.endswith(".ps1")}
_MODULES: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text())
CMDLETS = {command.lower() for found in _MODULES.values() for command in found}


@pytest.mark.parametrize("name", sorted(KIT | TEMPLATES))
def test_it_is_powershell(name: str) -> None:
    assert syntax_faults((KIT | TEMPLATES)[name]) == []


@pytest.mark.parametrize("text", ["if ($a {", "$a ?? 2", "$b = $a ? 1 : 2", "@{ a = }", 'echo "x'])
def test_a_text_that_windows_powershell_would_refuse_is_found(text: str) -> None:
    assert syntax_faults(text)


@pytest.mark.parametrize("name", sorted(KIT | TEMPLATES))
def test_every_command_is_one_that_windows_has(name: str) -> None:
    text = (KIT | TEMPLATES)[name]
    own = {found.lower() for found in re.findall(r"^function ([\w-]+)", source("common") + text, re.MULTILINE)}
    called = {command for command in commands(text) if not command.startswith("$")}
    assert called - own - CMDLETS == set()


def test_what_is_given_comes_back_whatever_it_is_and_changes_nothing_of_the_program() -> None:
    chance = random.Random(20260115)  # the same texts in every run
    alphabet = "'\"`$(){}@#;&|<>%^\\/ \t\r\n\x00\x1eüß中😀aZ09-=," + "\ud7ff"
    plain = program("write_files", {})
    skeleton = re.sub(rb"FromBase64String\('[^']*'\)", b"", plain)
    for _ in range(300):
        text = "".join(chance.choices(alphabet, k=chance.randrange(60)))
        made = program("write_files", {"files": [{"path": text, "content": text}]})
        assert call_of(made.decode("utf-8-sig").replace("\r\n", "\n")).given["files"][0]["path"] == text
        assert re.sub(rb"FromBase64String\('[^']*'\)", b"", made) == skeleton
        assert re.search(rb"FromBase64String\('([A-Za-z0-9+/=]*)'\)", made)


def test_a_file_is_read_as_utf_8_by_windows_powershell() -> None:
    data = encode("'ü'\r\n'x'\n")
    assert data == b"\xef\xbb\xbf'\xc3\xbc'\r\n'x'\r\n"


def test_the_command_line_means_the_same_to_cmd_and_to_powershell() -> None:
    line = RUN.format(path=rf"{STATE}\run\{'0' * 32}.ps1")
    assert not set(line) & set("\"'`$&|<>()^%@;{}")
    assert len(line) < 8191


def test_paths_are_as_the_sftp_server_of_windows_writes_them() -> None:
    assert sftp_path(r"C:\ProgramData\goldenpipe\run") == "/C:/ProgramData/goldenpipe/run"


def test_the_data_of_a_program_is_ascii_json() -> None:
    made = program("mark", {"key": "ü"})
    found = re.search(rb"FromBase64String\('([^']*)'\)", made)
    assert found
    assert json.loads(base64.b64decode(found[1]).decode("ascii")) == {"key": "ü"}
