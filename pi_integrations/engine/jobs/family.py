"""The work of a job family, and what that work may use: the interface between the job engine and what it runs.

A job survives the death of its process because its work keeps two rules. Every answer of a model is asked for through
`recorded`, which writes the answer down before anybody sees it and never asks for it again. Everything the job has made
of those answers is handed over in `commit`, in one transaction together with the `progress` from which the work goes on
in its next life. Between two commits nothing else is kept.

A job at which five workers in a row died ends in ERROR, unless it got further in between: a row or an answer was kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from pi_integrations.errors import PiError
from pi_integrations.models.families import JobFamily

__all__ = ["FamilyWork", "JobStopped", "Run"]

R = TypeVar("R", bound=BaseModel)


class JobStopped(PiError):
    """Raised by a job's work to end it in ERROR with a reason that its owner reads; what was committed is kept."""


class Run(Protocol):
    """One job at work, in one of its lives."""

    @property
    def job_id(self) -> str:
        """Identifies the job; a good seed for random choices that must be the same in every life."""
        ...

    @property
    def progress(self) -> Mapping[str, Any] | None:
        """What the last commit said, in this life or an earlier one; None before the first."""
        ...

    async def rows(self) -> list[Any]:
        """Every row committed so far, in order."""
        ...

    async def recorded(self, key: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The JSON value that `call` gave the first time it ended well for this `key`; an exception is not recorded.

        The value is on disk before it is returned. `call` runs again only when the process died, or lost the job to
        another worker, before that.
        """
        ...

    async def commit(
        self, *, rows: Sequence[Any] = (), messages: Sequence[str] = (), progress: Mapping[str, Any] | None = None
    ) -> None:
        """Appends rows (JSON values) and message lines and replaces `progress`, all or nothing.

        Readers have them within milliseconds. `progress["status"]`, if it is there, is a mapping merged into the job's
        status as the API tells it. Cancels the work (CancelledError) when the job is no longer this worker's: it was
        cancelled, or another worker took it over.
        """
        ...


@dataclass(frozen=True, slots=True)
class FamilyWork(Generic[R]):
    """How this engine does the jobs of one family.

    Attributes:
        family: The family, as the registry describes it.
        work: Does the job and returns the result's fields, which are merged into the status. Raises `JobStopped` to end
            in ERROR with a reason; any other exception is logged and ends the job too.
        missing: Why this process cannot do such work, with the remedy; None when it can. It takes such jobs all the
            same while a worker of the same database can do them.
        check: Raises PiUsageError for a request this engine cannot do; called before a job is made.
        concurrency: Jobs of this family at a time in one process.
    """

    family: JobFamily[R, Any, Any]
    work: Callable[[R, Run], Awaitable[Mapping[str, Any]]]
    missing: str | None = None
    check: Callable[[R], None] = lambda request: None
    concurrency: int = 4

    @property
    def path(self) -> str:
        """The family's path, which is also its queue's name."""
        return self.family.path
