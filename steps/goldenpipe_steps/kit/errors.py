"""The two ways a step may fail on purpose; anything else is a bug in the step."""

from __future__ import annotations

from typing import ClassVar


class StepError(Exception):
    """A failure told in words: what happened, and what the user can do about it."""

    exit_code: ClassVar[int]

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Temporary(StepError):
    """It may go well the next time: the Job tries again."""

    exit_code = 10


class Permanent(StepError):
    """Trying again changes nothing: the Job fails at once."""

    exit_code = 20
