"""Jobs for synchronous code: the same handles, whose methods wait and whose streams are plain iterators."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from pi_integrations.client.job_stream import Batches
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.client.resources import Data, GenerateInputResponsePairs, GenerateInputs
from pi_integrations.client.waited import Stream
from pi_integrations.models import InputResponsePair, JobState, JobStatus, SyntheticDataStatus, SyntheticInputsStatus

__all__ = ["SyncData", "SyncJob", "SyncJobResource"]

P = ParamSpec("P")
T = TypeVar("T")
StatusT = TypeVar("StatusT", bound=JobStatus)
ItemT = TypeVar("ItemT")


class SyncJob(Generic[StatusT, ItemT]):
    """`Job` for synchronous code: `data()` and `messages()` are plain iterators.

    Attributes:
        job_id: Identifies the job within its family.

    Example:
        ```python
        def questions(client: PiClient, job_id: str) -> list[str]:
            job = client.data.generate_input_response_pairs.job(job_id)
            return [pair.llm_input for pair in job.data()]
        ```
    """

    def __init__(self, job: Job[StatusT, ItemT]) -> None:
        self._async = job
        self.job_id = job.job_id

    def __repr__(self) -> str:
        return f"Sync{self._async!r}"

    @property
    def asynchronous(self) -> Job[StatusT, ItemT]:
        """The async handle behind this one; both may be used at the same time."""
        return self._async

    def status(self) -> StatusT:
        """See `Job.status`."""
        return loop_thread().run(self._async.status())

    def cancel(self) -> str:
        """See `Job.cancel`."""
        return loop_thread().run(self._async.cancel())

    def data(self, start: int = 0) -> Iterator[ItemT]:
        """See `Job.data`."""
        return _each(self._async.routes.items(self.job_id, start))

    def messages(self, start: int = 0) -> Iterator[str]:
        """See `Job.messages`."""
        return _each(self._async.routes.messages(self.job_id, start))

    def result(self, timeout: float | None = None) -> StatusT:
        """See `Job.result`."""
        return loop_thread().run(self._async.result(timeout))


def _each(batches: Batches[T]) -> Iterator[T]:
    # One step of the background loop brings all that has arrived, so that a row does not cost a change of threads.
    for batch in Stream(batches):
        yield from batch


class _Started(Generic[P, StatusT, ItemT]):
    """A descriptor: the same `start_job`, signature and docstring, but it waits, and returns a `SyncJob`."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Job[StatusT, ItemT]]]) -> None:
        self._method = method
        update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> Callable[P, SyncJob[StatusT, ItemT]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> SyncJob[StatusT, ItemT]:
            return SyncJob(loop_thread().run(self._method(instance._async, *args, **kwargs)))

        return update_wrapper(call, self._method)


class SyncJobResource(Generic[StatusT, ItemT]):
    """`JobResource` for synchronous code."""

    def __init__(self, resource: JobResource[Any, StatusT, ItemT]) -> None:
        self._async = resource

    def list(self, state: JobState | str | None = None) -> builtins.list[StatusT]:
        """See `JobResource.list`."""
        return loop_thread().run(self._async.list(state))

    def retrieve(self, job_id: str) -> StatusT:
        """See `JobResource.retrieve`."""
        return loop_thread().run(self._async.retrieve(job_id))

    def cancel(self, job_id: str) -> str:
        """See `JobResource.cancel`."""
        return loop_thread().run(self._async.cancel(job_id))

    def job(self, job_id: str) -> SyncJob[StatusT, ItemT]:
        """See `JobResource.job`."""
        return SyncJob(self._async.job(job_id))


class SyncGenerateInputResponsePairs(SyncJobResource[SyntheticDataStatus, InputResponsePair]):
    """`client.data.generate_input_response_pairs` of a `PiClient`."""

    start_job = _Started(GenerateInputResponsePairs.start_job)


class SyncGenerateInputs(SyncJobResource[SyntheticInputsStatus, str]):
    """`client.data.generate` of a `PiClient`."""

    start_job = _Started(GenerateInputs.start_job)


class SyncData:
    """`client.data` of a `PiClient`."""

    def __init__(self, data: Data) -> None:
        self.generate_input_response_pairs = SyncGenerateInputResponsePairs(data.generate_input_response_pairs)
        self.generate = SyncGenerateInputs(data.generate)
