"""What can go wrong when talking to the API, by HTTP status; the text is the API's own, cut short."""

from __future__ import annotations

import json

_LONGEST_MESSAGE = 500
"""Characters; an apiserver may echo whole objects, and those may hold secrets."""


class KubeError(Exception):
    """The Kubernetes API refused a request."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(KubeError):
    """404: there is no such object."""


class Conflict(KubeError):
    """409: the object exists already, or has changed since it was read."""


class Gone(KubeError):
    """410: the resource version is too old to watch from; list again."""


class Invalid(KubeError):
    """400 or 422: the object breaks a rule of the API."""


class Forbidden(KubeError):
    """401 or 403: the credentials do not allow it."""


class Unreachable(KubeError):
    """The API did not answer: no connection, or none within the time limit."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class Fenced(KubeError):
    """The request was not sent: its sender is no longer the one who may write."""

    def __init__(self) -> None:
        super().__init__(0, "Fenced", "another service may own the work by now, so this one does not write any more")


_CLASSES: dict[int, type[KubeError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}


def from_answer(status: int, body: str) -> KubeError:
    """The error for an HTTP answer; `body` is a Status object wherever the API itself answered."""
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    reason = str(document.get("reason") or f"HTTP {status}")
    message = str(document.get("message") or body or reason)[:_LONGEST_MESSAGE]
    return _CLASSES.get(status, KubeError)(status, reason, message)
