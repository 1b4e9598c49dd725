"""An image and its build, as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from goldenpipe.model.status import BuildState, ImageStatus, StepStatus, Target, image_status


@dataclass(frozen=True, kw_only=True)
class BuildError:
    """Why a build failed, in words: what happened, in which step, and what to do next."""

    message: str
    step: str | None = None
    hint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of one build."""

    position: int
    name: str
    chained_id: str
    """Hash of the step's text and inputs and of the step before it: same id, same prefix of work."""
    job: str
    status: StepStatus
    message: str
    weight: int
    progress: int = 0
    """Percent of this step alone."""
    job_uid: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """From its start to its end."""
        return seconds_between(self.started_at, self.ended_at) if self.started_at and self.ended_at else None


def seconds_between(start: datetime, end: datetime) -> float:
    """Never negative: the clock may have been set back meanwhile."""
    return max(0.0, (end - start).total_seconds())


@dataclass(frozen=True, kw_only=True)
class Build:
    """One attempt to make an image, with the image it makes."""

    id: str
    name: str
    os_type: str
    request: dict[str, Any]
    """The checked request; passwords are hashes."""
    labels: dict[str, str]
    target: Target
    state: BuildState
    templates: str
    """Digest of the template bundle that the build started with."""
    pipeline: str
    pvc: str
    vm: str
    steps: tuple[Step, ...]
    objects: tuple[tuple[str, str], ...]
    """Kind and name of what the build has in the cluster beside its Jobs and their inputs, in the order of creation."""
    facts: dict[str, Any]
    error: BuildError | None
    vm_uid: str | None
    size_bytes: int | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    recorded: str | None = None
    """What the build's record in the cluster tells: a state, `absent` or `removing`; None before there is one."""

    @property
    def status(self) -> ImageStatus:
        return image_status(self.state, self.target)

    @property
    def current_step(self) -> Step | None:
        return next((step for step in self.steps if not step.status.ended), None)

    @property
    def progress(self) -> int:
        """Weighted percent over the steps that are not skipped; 100 only when the image is ready."""
        if self.state is BuildState.SUCCEEDED:
            return 100
        steps = [step for step in self.steps if step.status is not StepStatus.SKIPPED]
        total = sum(step.weight for step in steps) or 1
        done = sum(step.weight * (100 if step.status is StepStatus.COMPLETED else step.progress) for step in steps)
        return min(99, done // total)

    @property
    def message(self) -> str:
        """One sentence: what is going on."""
        if self.target is Target.ABSENT:
            return "Deleting the image and everything that belongs to it"
        step = self.current_step
        match self.state:
            case BuildState.QUEUED:
                return "Waiting for a free build slot"
            case BuildState.RUNNING:
                return step.message if step else "Finishing"
            case BuildState.FINISHING:
                return "Removing the build VM and its secrets"
            case BuildState.FAILING:
                return f"Cleaning up after a failure: {self.error.message if self.error else ''}"
            case BuildState.SUCCEEDED:
                return "The image is ready"
            case BuildState.FAILED:
                return self.error.message if self.error else "The build failed"
