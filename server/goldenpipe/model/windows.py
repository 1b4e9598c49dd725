"""What a request for Windows may ask for, and what only one of Linux and Windows knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from goldenpipe.errors import Fault
from goldenpipe.model.quantities import parse_bytes

STORAGE_SIZE = "64Gi"
"""The default for Windows: what Windows 11 asks for; a Server with its updates needs about half."""
LEAST_STORAGE = 32 * 1024**3
LEAST_MEMORY = 2 * 1024**3
INLINE_SCRIPT = "#ps1"
"""How the text of a PowerShell script begins, as cloudbase-init has it; a library script is named instead."""
USER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,18}[A-Za-z0-9_-]|[A-Za-z0-9_]")
GROUP_NAME = re.compile(r'(?! )[^"/\\\[\]:;|=,+*?<>@\x00-\x1f]{1,256}(?<![ .])')
PRODUCT_KEY = re.compile(r"[A-Z0-9]{5}(-[A-Z0-9]{5}){4}")
_OWN_ACCOUNTS = {"administrator", "guest", "defaultaccount", "wdagutilityaccount", "system", "none"}
_FOLDER = r'(?! )[^<>:"/\\|?*\x00-\x1f]+(?<![ .])'
_PATH = re.compile(rf"[A-Za-z]:\\({_FOLDER}\\)*{_FOLDER}")
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_LONGEST_PATH = 259


def user_name_fault(name: str) -> str | None:
    """Why this cannot be a user of the image; None if it can."""
    if name.lower() in _OWN_ACCOUNTS:
        return f"{name!r} is an account of Windows itself, which sealing resets; choose another name"
    if not USER_NAME.fullmatch(name):
        return "a user name on Windows is at most 20 of A-Z, a-z, 0-9, '.', '_' and '-', and does not end with '.'"
    return None


def package_fault(package: str) -> str | None:
    """Why this is no installer to fetch; None for one that is, and for what is a package manager's name."""
    url = urlsplit(package)
    if not url.scheme or "://" not in package:
        return None
    kind = url.path.lower().rpartition(".")[2]
    fields = dict(part.partition("=")[::2] for part in url.fragment.split("&"))
    if url.scheme not in ("http", "https") or not url.hostname or kind not in ("msi", "exe"):
        return "an installer is the http: or https: URL of an .msi or .exe file"
    if url.username or url.password:
        return "must not hold a user name or password: it would be stored and logged"
    if not re.fullmatch(r"[0-9a-fA-F]{64}", fields.pop("sha256", "")):
        return "an installer needs its checksum: end the URL with #sha256= and 64 hexadecimal digits"
    if kind == "exe" and not unquote(fields.get("args", "")).strip():
        return (
            "an .exe needs the arguments that make it silent: end the URL with, for example, &args=/quiet%20/norestart"
        )
    if set(fields) - {"args"}:
        return "after # only sha256= and args= are known"
    return None


def os_faults(document: Mapping[str, Any], customizations: Mapping[str, Any]) -> list[Fault]:
    """Fields of the other operating system, and what this one insists on."""
    if document.get("os_type") == "windows":
        return [*_license_faults(document), *_size_faults(document), *_sudo_faults(customizations.get("users"))]
    if document.get("os_type") != "linux":
        return []
    return [Fault(name, "is for os_type: windows") for name in ("accept_eula", "windows") if name in document]


def _license_faults(document: Mapping[str, Any]) -> list[Fault]:
    if document.get("accept_eula") is True:
        return []
    message = "must be true: Windows is installed only for those who accept Microsoft's licence terms for it"
    return [Fault("accept_eula", message)]


def _size_faults(document: Mapping[str, Any]) -> list[Fault]:
    found = []
    for name, least, text in (("storage_size", LEAST_STORAGE, "32Gi"), ("memory", LEAST_MEMORY, "2Gi")):
        try:
            size = parse_bytes(document[name]) if isinstance(document.get(name), str) else least
        except ValueError:
            continue
        if 128 * 1024**2 <= size < least:
            found.append(Fault(name, f"must be at least {text}: Windows Setup does not work with less"))
    return found


def _sudo_faults(users: Any) -> list[Fault]:
    if not isinstance(users, list):
        return []
    message = "Windows has no sudo; put the user into the group Administrators"
    return [
        Fault(f"customizations.users[{index}].sudo", message)
        for index, user in enumerate(users)
        if isinstance(user, dict) and user.get("sudo")
    ]


def file_faults(files: Mapping[str, Any]) -> list[Fault]:
    """Windows paths: from the drive on, each part one that NTFS can hold, none twice in another case."""
    found = []
    seen: dict[str, str] = {}
    folders = {path.lower()[:at] for path in files for at, char in enumerate(path) if char == "\\"}
    for path in files:
        parts = path.split("\\")[1:]
        if not _PATH.fullmatch(path) or len(path) > _LONGEST_PATH or any(map(_DEVICE.fullmatch, parts)):
            message = r"must be a whole path such as C:\ProgramData\team\motd.txt, without '.', '..' and reserved names"
        elif path.lower() in seen:
            message = f"is the same file as {seen[path.lower()]}: Windows does not tell upper from lower case"
        elif path.lower() in folders:
            message = "is a file here and a folder for another file of this request"
        else:
            seen[path.lower()] = path
            continue
        found.append(Fault(f'customizations.files["{path}"]', message))
    return found
