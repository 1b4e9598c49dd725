"""States inside, and the one table that decides which word the API shows."""

from __future__ import annotations

from enum import StrEnum


class Target(StrEnum):
    """What the user wants of an image."""

    PRESENT = "present"
    ABSENT = "absent"


class BuildState(StrEnum):
    """Where a build is. An arrow is one transition, stored before it is acted on."""

    QUEUED = "queued"  # -> running, when a slot is free
    RUNNING = "running"  # -> finishing, after the last step; -> failing, with an error
    FINISHING = "finishing"  # -> succeeded, when VM and secrets are gone
    FAILING = "failing"  # -> failed, when VM, disk and secrets are gone
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (BuildState.SUCCEEDED, BuildState.FAILED)


class ImageStatus(StrEnum):
    """The API's words."""

    PENDING = "pending"
    CREATING = "creating"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class StepStatus(StrEnum):
    """The API's words for a step."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def ended(self) -> bool:
        return self in (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED)


_SHOWN = {
    BuildState.QUEUED: ImageStatus.PENDING,
    BuildState.RUNNING: ImageStatus.CREATING,
    BuildState.FINISHING: ImageStatus.CREATING,
    BuildState.FAILING: ImageStatus.CREATING,
    BuildState.SUCCEEDED: ImageStatus.READY,
    BuildState.FAILED: ImageStatus.FAILED,
}


def image_status(state: BuildState, target: Target) -> ImageStatus:
    """What the API shows. A terminal word also says that nothing is left over, so it waits for the cleaning up."""
    return ImageStatus.DELETING if target is Target.ABSENT else _SHOWN[state]
