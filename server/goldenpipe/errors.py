"""What a caller may be told. A class's docstring is its default message, `status` its HTTP status."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a request: where, as `customizations.users[0].name`, and what."""

    path: str
    message: str


class PublicError(Exception):
    """Something went wrong."""

    status = 500

    def __init__(self, message: str = "", *, details: tuple[Fault, ...] = ()) -> None:
        super().__init__(message or self.__class__.__doc__)
        self.details = details


class InvalidRequest(PublicError):
    """The request is not valid."""

    status = 400

    @classmethod
    def of(cls, faults: list[Fault]) -> InvalidRequest:
        """One sentence for all faults; the first one is in it, so that even a bare client shows something useful."""
        first = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        place = f"{first.path}: " if first.path else ""
        return cls(f"the request is not valid: {place}{first.message}{more}", details=tuple(faults))


class UnsupportedMediaType(PublicError):
    """The body must be JSON: send it with Content-Type: application/json."""

    status = 415


class ImageNotFound(PublicError):
    """There is no such image."""

    status = 404


class AlreadyExists(PublicError):
    """An image of that name exists."""

    status = 409


class NotReady(PublicError):
    """The image is not ready."""

    status = 409


class Unavailable(PublicError):
    """The service cannot do this now."""

    status = 503


class NoLeader(Unavailable):
    """No service owns the work at this moment: one is taking over; ask again in a few seconds."""

    retry_after = 2
    """Seconds."""
