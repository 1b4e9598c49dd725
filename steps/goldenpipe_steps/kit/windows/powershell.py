"""PowerShell text for the guest: files of this package, never changed, and what they work on as one JSON document.

Nothing of a request becomes PowerShell: it is data in base64, so there is nothing to quote. Windows PowerShell 5.1,
which every Windows has, reads a file as UTF-8 only if it begins with a byte order mark.
"""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STATE = r"C:\ProgramData\goldenpipe"
"""The build's folder in the guest: marks of finished work and running jobs; sealing removes it."""
RUN = "powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File {path}"
"""The same words for cmd.exe and for PowerShell, whichever is the server's DefaultShell: nothing here needs quotes."""
RECORD = "\x1e"
_HERE = Path(__file__).parent
_HEAD = """\
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$given = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('{given}')) | ConvertFrom-Json
$state = '{state}'
"""


def program(name: str, given: Mapping[str, Any]) -> bytes:
    """The file `name`.ps1 of this package, ready to be run in the guest with this data as `$given`."""
    data = base64.b64encode(json.dumps(dict(given)).encode()).decode()
    head = _HEAD.format(given=data, state=STATE)
    common, own = (source(part) for part in ("common", name))
    return encode(f"{head}{common}{own}")


def source(name: str) -> str:
    return (_HERE / f"{name}.ps1").read_text()


def encode(text: str) -> bytes:
    """As Windows PowerShell reads it: UTF-8 with a mark, and Windows line ends."""
    return codecs.BOM_UTF8 + text.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def sftp_path(path: str) -> str:
    """How the SFTP server of Windows' OpenSSH writes a path."""
    return "/" + path.replace("\\", "/")
