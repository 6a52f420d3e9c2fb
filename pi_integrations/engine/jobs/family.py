"""The work of a job family, and what that work may use: the interface between the job engine and what it runs."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from pi_integrations.engine.jobs.settings import JobSettings
from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.models.families import JobFamily

__all__ = ["Artifacts", "FamilyWork", "JobStopped", "Run"]

logger = logging.getLogger(__name__)


class Artifacts:
    """The files of one job, below `artifacts` in the engine's data directory.

    An attempt that lost its job may still write here while the next one works: write to a name of the attempt's own and
    rename the file when it is complete. All methods use the disk; call them from a thread where there are many files.

    Args:
        settings: Where the data directory is, and how much may be kept there.
        job_id: Names the folder.
    """

    def __init__(self, settings: JobSettings, job_id: str) -> None:
        self._settings = settings
        # The operator may have put the folder of all jobs on another disk, by a link.
        self._all = (settings.data_dir / "artifacts").resolve()
        self._folder = self._all / job_id

    def path(self, name: str) -> Path:
        """The path of a file or folder of this job, such as `checkpoints/step-10`; its parent folders exist then.

        Raises:
            PiUsageError: when the name is empty, absolute, or leads out of the job's folder, by `..` or by a link.
        """
        try:
            path = (self._folder / name).resolve()
        except (OSError, RuntimeError, ValueError):
            path = self._folder
        if self._folder not in path.parents:
            raise PiUsageError(f"artifact {name!r} is not below the job's folder; give a relative name without '..'")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def size(self) -> int:
        """Bytes that the job's files take; links are not followed."""
        return _size(self._folder)

    def check_room(self, more: int) -> None:
        """Raises JobStopped when `more` bytes are more than one job, or all jobs together, may still keep here."""
        limit, total = self._settings.max_artifact_bytes, self._settings.max_total_artifact_bytes
        if (wanted := self.size() + more) > limit:
            raise _no_room("the files of this job", wanted, limit, "max_artifact_bytes")
        if (wanted := _size(self._all) + more) > total:
            raise _no_room(
                "the files of all jobs", wanted, total, "max_total_artifact_bytes, or lower the retention of old jobs"
            )

    def remove(self) -> None:
        """Removes the job's files, if there are any; what cannot be removed is logged."""
        try:
            shutil.rmtree(self._folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("the files at %s could not be removed: %s; remove them by hand", self._folder, error)


def _size(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return size


def _no_room(whose: str, wanted: int, limit: int, remedy: str) -> JobStopped:
    return JobStopped(
        f"{whose} would take {wanted:,} bytes, and {limit:,} are allowed. The engine's operator can raise {remedy}"
    )


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
