"""The work of a job family, and what that work may use: the interface between the job engine and what it runs.

A job survives the death of its process because its work keeps two rules. Every answer of a model is requested through
`recorded`, which stores the answer before anybody sees it and never requests it again. Everything the job has made
of those answers is handed over in `commit`, in one transaction together with the `progress` from which the next attempt
continues. Between two commits nothing is kept but files in `artifacts`.

A job at which five workers in a row died ends in ERROR, unless it got further in between: a row or an answer was kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from pi_integrations.errors import PiError
from pi_integrations.models.families import JobFamily

if TYPE_CHECKING:
    from pi_integrations.engine.jobs.artifacts import Artifacts

__all__ = ["FamilyWork", "JobStopped", "Run"]

R = TypeVar("R", bound=BaseModel)


class JobStopped(PiError):
    """Raised by a job's work to end it in ERROR with a reason that its owner reads; what was committed is kept."""


class Run(Protocol):
    """One job at work, in one of its attempts."""

    @property
    def job_id(self) -> str:
        """Identifies the job; a good seed for random choices that must be the same in every attempt."""
        ...

    @property
    def progress(self) -> Mapping[str, Any] | None:
        """The last commit's `progress`, of this attempt or an earlier one; None before the first."""
        ...

    @property
    def artifacts(self) -> Artifacts:
        """The job's folder for files too large for rows, such as checkpoints; made when it is first used."""
        ...

    async def rows(self) -> list[Any]:
        """Every row committed so far, in order."""
        ...

    async def recorded(self, key: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The JSON value that `call` returned the first time for this `key`; an exception is not recorded.

        The value is on disk before it is returned. `call` runs again only when the process died, or lost the job to
        another worker, before that.
        """
        ...

    async def commit(
        self, *, rows: Sequence[Any] = (), messages: Sequence[str] = (), progress: Mapping[str, Any] | None = None
    ) -> None:
        """Appends rows (JSON values) and message lines and replaces `progress`, all or nothing.

        Readers have them within milliseconds. `progress["status"]`, if present, is a mapping merged into the job's
        status on the wire. Cancels the work (CancelledError) when the job is no longer this worker's: it was
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
        missing: Why this process cannot do such work, with the remedy; None when it can. It accepts such jobs all the
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

    async def perform(self, request: str, run: Run) -> Mapping[str, Any]:
        """The result's fields of a job with this request, as JSON."""
        return await self.work(self.family.request.model_validate_json(request), run)
