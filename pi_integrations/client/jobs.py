"""A family of jobs as a resource, the same for every entry of the registry, and the handle on one job."""

from __future__ import annotations

import asyncio
import builtins
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from pi_integrations.client.calls import Calls, JsonReader, Outgoing, json_body
from pi_integrations.client.followed_lines import FollowedLines, JobSnapshot, Patience, take_snapshot
from pi_integrations.client.job_streams import JobStream
from pi_integrations.errors import PiJobFailed, PiUsageError
from pi_integrations.models import JobState, JobStatus, describe, render
from pi_integrations.models.families import JobFamily
from pi_integrations.models.wire import IDEMPOTENCY_HEADER, MAX_IDEMPOTENCY_KEY

__all__ = ["Job", "JobResource"]

RequestT = TypeVar("RequestT", bound=BaseModel)
StatusT = TypeVar("StatusT", bound=JobStatus)
ItemT = TypeVar("ItemT")
T = TypeVar("T")
_HINTS = {
    404: " Check the job id, that api_key is the one that started the job, and that base_url is the root of a Pi API."
}
_START_HINTS = {409: " This idempotency_key has started another job: give a new one, or leave it out."}
_SHOWN_MESSAGES = 5
_read_text = JsonReader[str](str, "a text")


class JobResource(Generic[RequestT, StatusT, ItemT]):
    """The jobs of one family.

    Args:
        calls: Sends the requests.
        family: The family's entry in the registry.
    """

    def __init__(self, calls: Calls, family: JobFamily[RequestT, StatusT, ItemT]) -> None:
        self.family = family
        self.retry = calls.settings.retry
        self._calls = calls
        status = family.status
        self._read_status = JsonReader[StatusT](status, "a job status")
        self._read_list = JsonReader[list[StatusT]](list[status], "a list of job statuses")  # type: ignore[valid-type]

    async def start_job(self, *, idempotency_key: str | None = None, **fields: Any) -> Job[StatusT, ItemT]:
        """A new job. A start that is retried never makes a second one.

        Args:
            idempotency_key: The same key and fields give the same job, whoever starts it; default a new key.
            fields: Those of the family's request model; a None is the service's to choose.

        Raises:
            PiUsageError: a field is unknown or wrong; the message names it, and nothing was sent.
            PiStatusError: the service refused, retries included; 409 when the key started another job.
            PiConnectionError: no whole answer came, retries included. The job may have been started: try again with
                the same `idempotency_key`.
        """
        return await self._start(fields, idempotency_key)

    async def _start(self, fields: Mapping[str, Any], idempotency_key: str | None) -> Job[StatusT, ItemT]:
        request = _checked_request(self.family.request, fields)
        body = json_body(request, only=request.model_fields_set)
        headers = {IDEMPOTENCY_HEADER: _checked_key(idempotency_key)}
        outgoing = Outgoing("POST", self.family.path, body, headers, _START_HINTS)
        return Job(self, (await self._calls.run(outgoing, self._read_status)).job_id)

    async def list(self, state: JobState | str | None = None) -> builtins.list[StatusT]:
        """The caller's own jobs of this family; only those in `state`, when given.

        Raises:
            PiUsageError: when `state` is none of QUEUED, RUNNING, DONE, ERROR and CANCELLED.
        """
        checked = _checked_state(state)
        path = f"{self.family.path}?state={checked.value}" if checked else self.family.path
        return await self._calls.run(Outgoing("GET", path), self._read_list)

    async def retrieve(self, job_id: str) -> StatusT:
        """The status of a job, with its items so far.

        Raises:
            PiStatusError: 404 when there is no such job, or it is another key's.
        """
        return await self._status(job_id)

    async def cancel(self, job_id: str) -> str:
        """The service's answer to cancelling a job, which ends within seconds and keeps its items."""
        return await self._calls.run(Outgoing("DELETE", self._path(job_id), hints=_HINTS), _read_text)

    def job(self, job_id: str) -> Job[StatusT, ItemT]:
        """A handle on a job that was started anywhere; sends nothing."""
        return Job(self, job_id)

    def _path(self, job_id: str) -> str:
        if not isinstance(job_id, str) or job_id.strip() in ("", ".", ".."):
            raise PiUsageError(f"job_id is {job_id!r}; give the job_id of a job that was started")
        return f"{self.family.path}/{quote(job_id, safe='')}"

    async def _status(self, job_id: str, *, patient: bool = False) -> StatusT:
        request = Outgoing("GET", self._path(job_id), hints=_HINTS, patient=patient)
        return await self._calls.run(request, self._read_status)

    def _stream(self, job_id: str, kind: str, start: int, decode: Callable[[bytes], T]) -> JobStream[T]:
        if not isinstance(start, int) or start < 0:
            raise PiUsageError(f"start is {start!r}; it counts the lines to leave out, so a whole number ≥ 0")
        lines = FollowedLines(self._calls, self._path(job_id), kind, _HINTS, start)
        return JobStream(lines, decode, keep_blank=kind == "messages")


class Job(Generic[StatusT, ItemT]):
    """A handle on a job. The job lives in the service: it continues without this handle, this process and this machine.

    `start_job` returns one, and `job(job_id)` returns it again in another process or on another day.

    Attributes:
        job_id: Identifies the job within its family.

    Example:
        ```python
        async def questions(client: AsyncPiClient, job_id: str) -> list[str]:
            job = client.data.generate_input_response_pairs.job(job_id)
            return [pair.llm_input async for pair in job.data()]
        ```
    """

    def __init__(self, resource: JobResource[Any, StatusT, ItemT], job_id: str) -> None:
        resource._path(job_id)
        self.job_id = job_id
        self._resource = resource

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._resource.family.path!r}, {self.job_id!r})"

    async def status(self) -> StatusT:
        """See `JobResource.retrieve`."""
        return await self._resource.retrieve(self.job_id)

    async def snapshot(self) -> JobSnapshot:
        """The job's state, and why it ended, without its items."""
        return await take_snapshot(self._resource._calls, self._resource._path(self.job_id), _HINTS)

    async def cancel(self) -> str:
        """See `JobResource.cancel`."""
        return await self._resource.cancel(self.job_id)

    def data(self, start: int = 0) -> JobStream[ItemT]:
        """The job's items: replayed from number `start` on, then followed as they are made, until the job ends.

        A connection that is cut or silent is replaced; no item is missed and none comes twice. Memory stays flat.

        Args:
            start: How many items to leave out, ≥ 0.

        Raises:
            PiConnectionError: when the service is away for longer than `RetryPolicy.total`.
            PiStatusError: 404 when there is no such job, or it is another key's.
            PiResponseError: when a line is no such item; the message gives its number.
            PiUsageError: when jobs of this family have no items, or `start` is no such number.
        """
        family = self._resource.family
        if family.item is None:
            raise PiUsageError(f"jobs of {family.path} have no data stream; read their messages() and their result()")
        return self._resource._stream(self.job_id, "data", start, family.decode_item)

    def messages(self, start: int = 0) -> JobStream[str]:
        """The job's message lines, from LAUNCHING to its final state; otherwise like `data`.

        Lines that carry metrics are JSON objects.
        """
        return self._resource._stream(self.job_id, "messages", start, bytes.decode)

    async def result(self, timeout: float | None = None) -> StatusT:
        """The status of the job once it is DONE, with all its items.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Raises:
            PiJobFailed: when the job ended in ERROR or was cancelled, with its last messages.
            TimeoutError: when it has not ended after `timeout`; it continues.
            PiError: when it could not be followed; see `data`.
        """
        try:
            async with asyncio.timeout(timeout) as limit:
                status = await self._final_status()
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"{self!r} has not ended after {timeout:g} s. It goes on: call result() again, or cancel()."
            ) from None
        if status.state is not JobState.DONE:
            raise _failure(self.job_id, status)
        return status

    async def _final_status(self) -> StatusT:
        snapshot = await self.snapshot()
        if not snapshot.state.final:
            async for _ in self.messages(snapshot.lines("messages") or 0).batches():
                pass
        patience = Patience(self._resource.retry)
        # Some services write the last message before the state.
        while not (status := await self._resource._status(self.job_id, patient=True)).state.final:
            await patience.pace()
        return status


def _checked_request(model: type[RequestT], fields: Mapping[str, Any]) -> RequestT:
    """The request with the fields that were given; the others are the service's to choose."""
    unknown = [name for name in fields if name not in model.model_fields]
    if unknown:
        raise PiUsageError(f"{unknown[0]}: there is no such field; give some of {', '.join(model.model_fields)}")
    try:
        return model.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise PiUsageError(render(describe(error))) from None


def _checked_state(state: JobState | str | None) -> JobState | None:
    try:
        return JobState(state) if state is not None else None
    except ValueError:
        raise PiUsageError(f"state is {state!r}; give one of {', '.join(JobState)}") from None


def _checked_key(key: str | None) -> str:
    """`key`, or a new one: a retried start then carries the same key, and never makes a second job."""
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
        message = f"job {job_id} was cancelled. What it made is kept; start a new job for the rest."
    else:
        reason = status.error or "; ".join(last) or "no reason given"
        message = f"job {job_id} ended in ERROR: {reason}. What it made is kept; fix the cause, start a new job."
    return PiJobFailed(message, job_id=job_id, state=status.state.value, messages=last)
