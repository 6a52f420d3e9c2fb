"""The routes that every family of jobs has, and how its lines are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pi_integrations.client.bodies import JsonReader
from pi_integrations.client.calls import Calls, Outgoing
from pi_integrations.client.following import Following, StreamName
from pi_integrations.client.job_stream import Batches
from pi_integrations.client.peek import Peek, peek
from pi_integrations.errors import PiUsageError
from pi_integrations.models import JobState, JobStatus
from pi_integrations.models.families import JobFamily
from pi_integrations.models.wire import IDEMPOTENCY_HEADER

__all__ = ["JobRoutes"]

StatusT = TypeVar("StatusT", bound=JobStatus)
ItemT = TypeVar("ItemT")
T = TypeVar("T")
_HINTS = {
    404: " Check the job id, that api_key is the one that started the job, and that base_url is the root of a Pi API."
}
_START_HINTS = {409: " This idempotency_key has started another job: give a new one, or leave it out."}


class JobRoutes(Generic[StatusT, ItemT]):
    """One family of jobs, as requests and answers.

    Args:
        calls: Sends them.
        family: As the registry describes it.
    """

    def __init__(self, calls: Calls, family: JobFamily[Any, StatusT, ItemT]) -> None:
        self.path = family.path
        self.family = family
        status = family.status
        self.retry = calls.settings.retry
        self._calls = calls
        self._started = JsonReader[StatusT](status, "a job status", hints=_START_HINTS)
        self._status = JsonReader[StatusT](status, "a job status", hints=_HINTS)
        self._statuses = JsonReader[list[StatusT]](list[status], "a list of job statuses")  # type: ignore[valid-type]
        self._words = JsonReader[str](str, "a text", hints=_HINTS)

    async def start(self, body: bytes, idempotency_key: str) -> StatusT:
        """The status of the new job, or of the one that the same key and body started before."""
        headers = {IDEMPOTENCY_HEADER: idempotency_key}
        return await self._calls.run(Outgoing("POST", self.path, body, headers), self._started)

    async def find(self, state: JobState | None) -> list[StatusT]:
        """The caller's jobs."""
        query = f"?state={state.value}" if state else ""
        return await self._calls.run(Outgoing("GET", self.path + query), self._statuses)

    async def retrieve(self, job_id: str, *, patient: bool = False) -> StatusT:
        """The status of one; see `Outgoing` for `patient`."""
        return await self._calls.run(Outgoing("GET", self.path_of(job_id), patient=patient), self._status)

    async def cancel(self, job_id: str) -> str:
        """What the service says to it."""
        return await self._calls.run(Outgoing("DELETE", self.path_of(job_id)), self._words)

    async def peek(self, job_id: str) -> Peek:
        """The state of one, without what it made."""
        return await peek(self._calls, self.path_of(job_id), _HINTS)

    def items(self, job_id: str, start: int) -> Batches[ItemT]:
        """Items as they arrive, some at a time.

        Raises:
            PiUsageError: when the family has none, or `start` is no count.
        """
        if self.family.item is None:
            raise PiUsageError(f"jobs of {self.path} have no data stream; read their messages() and their result()")
        return self._batches(job_id, "data", start, self.family.decode_item)

    def messages(self, job_id: str, start: int) -> Batches[str]:
        """Message lines as they arrive, some at a time."""
        return self._batches(job_id, "messages", start, bytes.decode)

    def path_of(self, job_id: str) -> str:
        """The path of one job.

        Raises:
            PiUsageError: when `job_id` cannot be one.
        """
        if not isinstance(job_id, str) or job_id.strip() in ("", ".", ".."):
            raise PiUsageError(f"job_id is {job_id!r}; give the job_id of a job that was started")
        return f"{self.path}/{quote(job_id, safe='')}"

    def _batches(self, job_id: str, kind: str, start: int, read: Callable[[bytes], T]) -> Batches[T]:
        if not isinstance(start, int) or start < 0:
            raise PiUsageError(f"start is {start!r}; it counts the lines to leave out, so a whole number ≥ 0")
        name = StreamName(self.path_of(job_id), kind, _HINTS)
        return Batches(Following(self._calls, name, start), name.path, read, keep_blank=kind == "messages")
