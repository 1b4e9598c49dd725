"""The body of `POST /api/v1/images`: parsed and checked whole, so that one answer tells every fault.

Passwords are hashed while the request is parsed, or where the guest knows no hashes (Windows) taken out of it: the
request then holds the key under which `secrets` has one, and nothing behind this module stores `secrets`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import asyncssh
from passlib.hash import sha512_crypt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from goldenpipe.errors import Fault
from goldenpipe.model import windows
from goldenpipe.model.base_image import Base, Kind
from goldenpipe.model.names import check_image_name, label_key_fault, label_value_fault
from goldenpipe.model.quantities import parse_bytes

BUILD_USER = "goldenpipe"
"""The user the steps log in as; gone from the sealed image, so nobody may ask for it."""
_HASH_ROUNDS = 65_536
"""Cost of a password hash: ten times glibc's default, yet below a second at a login under emulation."""
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:=*~@/-]*")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """What a request is checked against beside itself."""

    scripts: Collection[str]
    """Names of the scripts in the library."""
    file_urls: bool
    """Whether `file:` URLs make sense (on the local cluster they do)."""
    os_type: str = "linux"
    """What the request says it is; words and passwords differ."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Filled while the request is parsed: what must reach the guest in plain and may be stored in a Secret alone."""


def _fail(message: str) -> None:
    raise ValueError(message)


def _size(text: str) -> str:
    if parse_bytes(text) < 1024**2:
        _fail("must be at least 1Mi")
    return text


def _memory(text: str) -> str:
    if parse_bytes(text) < 128 * 1024**2:
        _fail("must be at least 128Mi: no guest boots with less")
    return text


def _on_windows(info: ValidationInfo) -> bool:
    return isinstance(info.context, RequestContext) and info.context.os_type == "windows"


def _name_of(what: str) -> AfterValidator:
    def check(name: str, info: ValidationInfo) -> str:
        if _on_windows(info):
            if what == "group" and not windows.GROUP_NAME.fullmatch(name):
                _fail("is no name that a group can have on Windows")
            if what == "user" and (fault := windows.user_name_fault(name)):
                _fail(fault)
        elif not _USER_NAME.fullmatch(name):
            _fail(f"a {what} name is at most 32 of a-z, 0-9, '_' and '-', and starts with a-z or '_'")
        return name

    return AfterValidator(check)


def _package(name: str, info: ValidationInfo) -> str:
    if _on_windows(info) and "://" in name:
        if fault := windows.package_fault(name):
            _fail(fault)
        return name
    if not _PACKAGE.fullmatch(name) or len(name) > 200:
        _fail("must be one package name (a version may follow as the package manager writes it), without spaces")
    return name


def check_ssh_key(key: str) -> str:
    """One OpenSSH public key line, parsed down to its numbers, or ValueError with the words to show."""
    if "PRIVATE KEY" in key:
        _fail("this is a private key; send the public one (the line in the file that ends in .pub)")
    if "\n" in key.strip():
        _fail("must be one line; send each key as an entry of its own")
    try:
        asyncssh.import_public_key(key)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        message = f"is not an OpenSSH public key such as 'ssh-ed25519 AAAA… name': {error}"
        raise ValueError(message) from error
    return key.strip()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class User(_Strict):
    """A user to create in the guest."""

    name: Annotated[str, _name_of("user")]
    password_hash: str | None = Field(default=None, alias="password")
    """On Windows the key of the password among the build's secrets: no Windows takes a hash."""
    groups: list[Annotated[str, _name_of("group")]] = Field(default_factory=list)
    sudo: bool = False

    @field_validator("name")
    @classmethod
    def _not_the_build_user(cls, name: str) -> str:
        if name.lower() == BUILD_USER:
            _fail(f"{BUILD_USER!r} is the user that builds the image and is removed at its end; choose another name")
        return name

    @field_validator("password_hash")
    @classmethod
    def _hash(cls, password: str | None, info: ValidationInfo) -> str | None:
        if password is None:
            return None
        if not password or re.search(r"[\x00\r\n]", password):
            _fail("must not be empty and must be a single line")
        if _on_windows(info):
            return _keep(info, f"password-{info.data.get('name', '')}", password)
        return str(sha512_crypt.using(rounds=_HASH_ROUNDS).hash(password))


class Customizations(_Strict):
    """What to change in the base image."""

    packages: list[Annotated[str, AfterValidator(_package)]] = Field(default_factory=list)
    scripts: list[str] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict)
    users: list[User] = Field(default_factory=list)
    ssh_keys: list[Annotated[str, AfterValidator(check_ssh_key)]] = Field(default_factory=list)


class WindowsSetup(_Strict):
    """What Windows Setup asks for."""

    edition: str | None = Field(default=None, min_length=1, max_length=200)
    product_key: str | None = None
    locale: str = Field(default="en-US", pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?-[A-Z]{2}$")
    timezone: str = Field(default="UTC", pattern=r"^[A-Za-z0-9 .()+-]{2,64}$")
    updates: bool = False

    @field_validator("product_key")
    @classmethod
    def _product_key(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is None:
            return None
        if not windows.PRODUCT_KEY.fullmatch(key):
            _fail("must be five groups of five letters and digits, as in AAAAA-BBBBB-CCCCC-DDDDD-EEEEE")
        return _keep(info, "product-key", key)


def _keep(info: ValidationInfo, key: str, value: str) -> str:
    """Take a secret out of the request and leave its key."""
    assert isinstance(info.context, RequestContext)
    info.context.secrets[key] = value
    return key


class ImageRequest(_Strict):
    """A golden image to build."""

    name: Annotated[str, AfterValidator(check_image_name)]
    os_type: Literal["linux", "windows"]
    base_iso_url: str
    base_checksum: str | None = None
    storage_size: Annotated[str, AfterValidator(_size)] = "20Gi"
    cpu: int = Field(default=2, ge=1, le=256)
    memory: Annotated[str, AfterValidator(_memory)] = "4Gi"
    customizations: Customizations = Field(default_factory=Customizations)
    labels: dict[str, str] = Field(default_factory=dict)
    accept_eula: bool = False
    windows: WindowsSetup = Field(default_factory=WindowsSetup)

    @field_validator("base_iso_url")
    @classmethod
    def _url(cls, url: str, info: ValidationInfo) -> str:
        file_urls = isinstance(info.context, RequestContext) and info.context.file_urls
        schemes = ("http", "https", "file") if file_urls else ("http", "https")
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018  (a wrong port is found when it is read)
        except ValueError as error:
            message = f"is not a URL: {error}"
            raise ValueError(message) from error
        if parts.scheme not in schemes:
            _fail(f"must be a URL that starts with {' or '.join(f'{s}:' for s in schemes)}")
        if parts.scheme == "file" and (parts.netloc not in ("", "localhost") or not parts.path.startswith("/")):
            _fail("a file: URL names an absolute path on this machine, for example file:///srv/debian-12.qcow2")
        if parts.scheme != "file" and not parts.hostname:
            _fail("has no host name")
        if parts.username or parts.password:
            _fail("must not hold a user name or password: it would be stored and logged")
        if re.search(r"[\x00-\x20]", url):
            _fail("must not hold spaces or control characters; write a space as %20")
        return url

    @field_validator("base_checksum")
    @classmethod
    def _checksum(cls, checksum: str | None) -> str | None:
        if checksum is not None and not _CHECKSUM.fullmatch(checksum.lower()):
            _fail("must be 'sha256:' and 64 hexadecimal digits, or 'sha512:' and 128")
        return checksum.lower() if checksum else None

    @property
    def size_bytes(self) -> int:
        return parse_bytes(self.storage_size)

    def based_on(self, base: Base) -> PlannedRequest:
        """The request with what its base image was seen to be."""
        return PlannedRequest.model_construct(**dict(self), base_kind=base.kind, base_bytes=base.size)


class PlannedRequest(ImageRequest):
    """A request whose base image was looked at; this is what is stored, and what templates see."""

    base_kind: Kind
    base_bytes: int | None = None


def parse_request(document: Any, context: RequestContext) -> ImageRequest | list[Fault]:
    """The request, or all its faults, each with its path."""
    if not isinstance(document, dict):
        return [Fault("", "the body must be a JSON object")]
    if document.get("os_type") == "windows":
        document = {"storage_size": windows.STORAGE_SIZE, **document}
        context = replace(context, os_type="windows")
    faults = _faults_across_fields(document, context)
    try:
        request = ImageRequest.model_validate(document, context=context)
    except ValidationError as error:
        known = {fault.path for fault in faults}
        found = [_fault(dict(item)) for item in error.errors(include_url=False, include_input=False)]
        faults += [fault for fault in found if fault.path not in known]
        return sorted(faults, key=lambda fault: fault.path)
    return sorted(faults, key=lambda fault: fault.path) or request


def _fault(item: dict[str, Any]) -> Fault:
    return Fault(_path(item["loc"]), _words(item))


def _path(parts: tuple[str | int, ...]) -> str:
    path = ""
    for part in parts:
        if part == "[key]":
            continue
        if isinstance(part, int) or not re.fullmatch(r"\w+", part):
            path += f"[{part}]" if isinstance(part, int) else f'["{part}"]'
        else:
            path += f".{part}" if path else part
    return path


def _words(item: dict[str, Any]) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "there is no such field"
        case "missing":
            return "is required"
        case _:
            message = str(item["msg"]).removeprefix("Value error, ")
            return message[:1].lower() + message[1:]


def _faults_across_fields(document: dict[str, Any], context: RequestContext) -> list[Fault]:
    """What no single field can see; written for documents that may be wrong in every other way too."""
    customizations = document.get("customizations")
    if not isinstance(customizations, dict):
        customizations = {}
    return [
        *_label_faults(document.get("labels")),
        *_file_faults(customizations.get("files"), context.os_type),
        *_script_faults(customizations.get("scripts"), context),
        *_user_faults(customizations.get("users")),
        *windows.os_faults(document, customizations),
    ]


def _label_faults(labels: Any) -> list[Fault]:
    if not isinstance(labels, dict):
        return []
    found = []
    for key, value in labels.items():
        reason = label_key_fault(key) or (label_value_fault(value) if isinstance(value, str) else None)
        if reason:
            found.append(Fault(_path(("labels", key)), reason))
    return found


def _file_faults(files: Any, os_type: str) -> list[Fault]:
    if not isinstance(files, dict):
        return []
    if os_type == "windows":
        return windows.file_faults(files)
    found = []
    for path in files:
        plain = path.startswith("/") and posixpath.normpath(path) == path and path != "/"
        if not plain or re.search(r"[\x00-\x1f]", path) or path.startswith("//"):
            message = "must be an absolute path of a file, without '.', '..', '//' and control characters"
            found.append(Fault(f'customizations.files["{path}"]', message))
        elif any(other.startswith(path + "/") for other in files):
            message = "is a file here and a folder for another file of this request"
            found.append(Fault(f'customizations.files["{path}"]', message))
    return found


def _script_faults(scripts: Any, context: RequestContext) -> list[Fault]:
    if not isinstance(scripts, list):
        return []
    begin = inline_mark(context.os_type)
    known = [name for name in context.scripts if name.endswith(".ps1") == (context.os_type == "windows")]
    found = []
    for index, script in enumerate(scripts):
        if not isinstance(script, str) or script.startswith(begin) or script in known:
            continue
        if script in context.scripts:
            message = f"script {script} is not for os_type: {context.os_type}; for that there are {', '.join(known)}"
        else:
            names = ", ".join(sorted(known))
            message = f"there is no script {script[:80]!r} in the library ({names}); inline text starts with {begin}"
        found.append(Fault(f"customizations.scripts[{index}]", message))
    return found


def inline_mark(os_type: str) -> str:
    """How a script begins whose text stands in the request."""
    return windows.INLINE_SCRIPT if os_type == "windows" else "#!"


def _user_faults(users: Any) -> list[Fault]:
    if not isinstance(users, list):
        return []
    seen: set[str] = set()
    found = []
    for index, user in enumerate(users):
        name = user.get("name") if isinstance(user, dict) else None
        if isinstance(name, str) and name.lower() in seen:
            found.append(Fault(f"customizations.users[{index}].name", f"user {name!r} is asked for twice"))
        elif isinstance(name, str):
            seen.add(name.lower())
    return found
