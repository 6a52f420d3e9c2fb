"""Jobs, and what every family of them offers: start, list, retrieve, cancel, and a handle on one."""

from __future__ import annotations

import asyncio
import builtins
import uuid
from typing import Generic, TypeVar

from pydantic import BaseModel

from pi_integrations.client.bodies import json_body
from pi_integrations.client.job_routes import JobRoutes
from pi_integrations.client.job_stream import JobStream
from pi_integrations.client.patience import Patience
from pi_integrations.errors import PiJobFailed, PiUsageError
from pi_integrations.models import JobState, JobStatus
from pi_integrations.models.wire import MAX_IDEMPOTENCY_KEY

__all__ = ["Job", "JobResource"]

RequestT = TypeVar("RequestT", bound=BaseModel)
StatusT = TypeVar("StatusT", bound=JobStatus)
ItemT = TypeVar("ItemT")
_SHOWN_MESSAGES = 5


class Job(Generic[StatusT, ItemT]):
    """A handle on a job. The job lives in the service: it goes on without this handle, this process and this machine.

    `start_job` gives one, and `job(job_id)` gives it again in another process or on another day, without a request.

    Attributes:
        job_id: Identifies the job within its family.

    Example:
        ```python
        async def questions(client: AsyncPiClient, job_id: str) -> list[str]:
            job = client.data.generate_input_response_pairs.job(job_id)
            return [pair.llm_input async for pair in job.data()]
        ```
    """

    def __init__(self, routes: JobRoutes[StatusT, ItemT], job_id: str) -> None:
        routes.path_of(job_id)
        self.job_id = job_id
        self.routes = routes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.routes.path!r}, {self.job_id!r})"

    async def status(self) -> StatusT:
        """Where the job stands, with what it has made so far.

        Raises:
            PiStatusError: 404 when there is no such job, or it is another key's.
        """
        return await self.routes.retrieve(self.job_id)

    async def cancel(self) -> str:
        """Ends the job within seconds and keeps what it has made; what the service says to that."""
        return await self.routes.cancel(self.job_id)

    def data(self, start: int = 0) -> JobStream[ItemT]:
        """What the job makes: replayed from item `start` on, then followed as it is made, until the job ends.

        A connection that is cut or silent is replaced; no item is missed and none comes twice. Memory stays flat.

        Args:
            start: How many items to leave out, ≥ 0.

        Raises:
            PiConnectionError: when the service is away for longer than `RetryPolicy.total`.
            PiStatusError: 404 when there is no such job, or it is another key's.
            PiResponseError: when a line is no such item; it is named by its number.
            PiUsageError: when jobs of this family make no items, or `start` is no such number.
        """
        return JobStream(self.routes.items(self.job_id, start))

    def messages(self, start: int = 0) -> JobStream[str]:
        """The job's message lines, from LAUNCHING to the state it ends in; the rest is as with `data`.

        Lines that carry metrics are JSON objects.
        """
        return JobStream(self.routes.messages(self.job_id, start))

    async def result(self, timeout: float | None = None) -> StatusT:
        """The status of the job when it is DONE, with all that it made.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Raises:
            PiJobFailed: when the job ended in ERROR or was cancelled, with its last messages.
            TimeoutError: when it has not ended after `timeout`; it goes on.
            PiError: when it could not be followed; see `data`.
        """
        try:
            async with asyncio.timeout(timeout) as limit:
                status = await self._ended()
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"{self!r} has not ended after {timeout:g} s. It goes on: call result() again, or cancel()."
            ) from None
        if status.state is not JobState.DONE:
            raise _failure(self.job_id, status)
        return status

    async def _ended(self) -> StatusT:
        seen = await self.routes.peek(self.job_id)
        if not seen.state.final:
            async for _ in self.routes.messages(self.job_id, seen.lines("messages") or 0):
                pass
        patience = Patience(self.routes.retry)
        while not (status := await self.routes.retrieve(self.job_id, patient=True)).state.final:
            await patience.pace()
        return status


class JobResource(Generic[RequestT, StatusT, ItemT]):
    """A family of jobs; each has a `start_job` of its own beside these."""

    def __init__(self, routes: JobRoutes[StatusT, ItemT]) -> None:
        self.routes = routes

    async def list(self, state: JobState | str | None = None) -> builtins.list[StatusT]:
        """The caller's own jobs of this family; only those in `state`, when given.

        Raises:
            PiUsageError: when `state` is none of QUEUED, RUNNING, DONE, ERROR and CANCELLED.
        """
        return await self.routes.find(_checked_state(state))

    async def retrieve(self, job_id: str) -> StatusT:
        """Where a job stands, with what it has made so far.

        Raises:
            PiStatusError: 404 when there is no such job, or it is another key's.
        """
        return await self.routes.retrieve(job_id)

    async def cancel(self, job_id: str) -> str:
        """Ends a job within seconds and keeps what it has made; what the service says to that."""
        return await self.routes.cancel(job_id)

    def job(self, job_id: str) -> Job[StatusT, ItemT]:
        """A handle on a job that was started anywhere; asks nothing of the service."""
        return Job(self.routes, job_id)

    async def _start(self, request: RequestT, idempotency_key: str | None) -> Job[StatusT, ItemT]:
        body = json_body(request, only=request.model_fields_set)
        status = await self.routes.start(body, _checked_key(idempotency_key))
        return Job(self.routes, status.job_id)


def _checked_state(state: JobState | str | None) -> JobState | None:
    try:
        return JobState(state) if state is not None else None
    except ValueError:
        raise PiUsageError(f"state is {state!r}; give one of {', '.join(JobState)}") from None


def _checked_key(key: str | None) -> str:
    """`key`, or a new one: a retried start is then the same start, and never makes a second job."""
    if key is None:
        return uuid.uuid4().hex
    fits = isinstance(key, str) and len(key.strip()) > 0 and len(key) <= MAX_IDEMPOTENCY_KEY
    if not fits or not (key.isascii() and key.isprintable()):
        raise PiUsageError(
            f"idempotency_key is {key!r:.80}; give printable ASCII, at most {MAX_IDEMPOTENCY_KEY} characters, or none"
        )
    return key


def _failure(job_id: str, status: JobStatus) -> PiJobFailed:
    last = status.detailed_status[-_SHOWN_MESSAGES:]
    if status.state is JobState.CANCELLED:
        message = f"job {job_id} was cancelled. What it had made is kept; start a new job for the rest."
    else:
        reason = status.error or "; ".join(last) or "no reason given"
        message = f"job {job_id} ended in ERROR: {reason}. What it had made is kept; mend the cause, start a new job."
    return PiJobFailed(message, job_id=job_id, state=status.state.value, messages=last)
