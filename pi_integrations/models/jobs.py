"""What every job answers, whatever it does: its id, its state, and its messages so far."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["JobState", "JobStatus"]


class JobState(StrEnum):
    """Where a job stands; the last three are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self in (JobState.DONE, JobState.ERROR, JobState.CANCELLED)


class JobStatus(BaseModel):
    """A job as the API tells it. Fields this version does not know are kept in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    job_id: str
    """Identifies the job within its family."""
    state: JobState
    """Where it stands."""
    detailed_status: list[str] = Field(default_factory=list)
    """The message lines so far; the first is LAUNCHING, the last of a finished job its state."""
    created: float | None = None
    """When it was started, in seconds since 1970; an addition of this engine."""
    error: str | None = None
    """Why the job ended in ERROR; an addition of this engine."""
