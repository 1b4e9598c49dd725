"""What the server answers when it does not do what was asked: Status objects, worded as the real apiserver's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from goldenpipe_kube import Object
from goldenpipe_local.api.resources import Resource


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One field of an object that breaks a rule."""

    path: str
    reason: str
    message: str

    def as_cause(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": self.path}

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def required(path: str, message: str = "") -> Fault:
    return Fault(path=path, reason="FieldValueRequired", message=f"Required value{': ' * bool(message)}{message}")


def invalid_value(path: str, value: object, message: str) -> Fault:
    shown = f'"{value}"' if isinstance(value, str) else value
    return Fault(path=path, reason="FieldValueInvalid", message=f"Invalid value: {shown}: {message}")


def unsupported(path: str, value: object, supported: Sequence[str]) -> Fault:
    words = ", ".join(f'"{word}"' for word in supported)
    message = f'Unsupported value: "{value}": supported values: {words}'
    return Fault(path=path, reason="FieldValueNotSupported", message=message)


def forbidden_value(path: str, message: str) -> Fault:
    return Fault(path=path, reason="FieldValueForbidden", message=f"Forbidden: {message}")


def duplicate(path: str, value: str) -> Fault:
    return Fault(path=path, reason="FieldValueDuplicate", message=f'Duplicate value: "{value}"')


def not_found_value(path: str, value: str) -> Fault:
    return Fault(path=path, reason="FieldValueNotFound", message=f'Not found: "{value}"')


class ApiError(Exception):
    """A request that is answered by a Status object."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def as_status(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        return {**status, "code": self.code}


def _about(resource: Resource, name: str, *, kind: str | None = None) -> Object:
    details: Object = {"name": name, "group": resource.group, "kind": kind or resource.plural}
    return {key: value for key, value in details.items() if value}


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, message: str) -> ApiError:
    shown = f' "{name}"' if name else ""
    return ApiError(403, "Forbidden", f"{resource.key}{shown} is forbidden: {message}", _about(resource, name))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource.key} "{name}" not found', _about(resource, name))


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.key} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _about(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.key} "{name}": {why}'
    return ApiError(409, "Conflict", message, _about(resource, name))


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_large() -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    words = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {words}"
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(resource: Resource, name: str, faults: Sequence[Fault]) -> ApiError:
    words = str(faults[0]) if len(faults) == 1 else f"[{', '.join(str(fault) for fault in faults)}]"
    details = {
        **_about(resource, name, kind=resource.kind),
        "causes": [fault.as_cause() for fault in faults],
    }
    return ApiError(422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {words}', details)


def invalid_patch(why: str) -> ApiError:
    """What a patch makes is no object of its kind."""
    fault = invalid_value("patch", "", why)
    return ApiError(422, "Invalid", f' "" is invalid: {fault}', {"causes": [fault.as_cause()]})


def shutting_down() -> ApiError:
    return ApiError(503, "ServiceUnavailable", "the API server is shutting down")


def too_large_version(asked: int, current: int) -> ApiError:
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, details)
