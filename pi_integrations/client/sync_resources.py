"""The resources of a `PiClient`: the async ones, whose calls run on the background loop and are waited for."""

from __future__ import annotations

import asyncio
import builtins  # the method `list` hides the type in annotations after it
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sized
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from pi_integrations.client.calibration import Calibrate
from pi_integrations.client.data import Data, GenerateInputResponsePairs, GenerateInputs
from pi_integrations.client.followed_lines import JobSnapshot
from pi_integrations.client.job_streams import JobStream
from pi_integrations.client.jobs import Job, JobResource
from pi_integrations.client.loop_thread import WaitedStream, loop_thread
from pi_integrations.client.score_many import Progress, Scored
from pi_integrations.client.scoring_system import ScoringSystem
from pi_integrations.models import (
    AggregationMethod,
    CalibrationStatus,
    InputResponsePair,
    JobState,
    JobStatus,
    SpecLike,
    SyntheticDataStatus,
    SyntheticInputsStatus,
)
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["SyncData", "SyncJob", "SyncJobResource", "SyncScoringSystem", "sync_job_resources"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
StatusT = TypeVar("StatusT", bound=JobStatus)
ItemT = TypeVar("ItemT")
_END = object()  # in place of StopIteration, which a future cannot carry


class _Waited(Generic[P, R]):
    """A descriptor: the async method with its signature and docstring, but it returns the result."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> Callable[P, R]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return loop_thread().run(self._method(instance._async, *args, **kwargs))

        return update_wrapper(call, self._method)


def _starting(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Job[StatusT, ItemT]]],
) -> _Waited[P, SyncJob[StatusT, ItemT]]:
    """`start_job` as `_Waited`, but it returns a `SyncJob`."""

    async def start(resource: Any, /, *args: P.args, **kwargs: P.kwargs) -> SyncJob[StatusT, ItemT]:
        return SyncJob(await method(resource, *args, **kwargs))

    update_wrapper(start, method)
    return _Waited(start)


class SyncScoringSystem:
    """`client.scoring_system` of a `PiClient`."""

    def __init__(self, resource: ScoringSystem) -> None:
        self._async = resource
        self.calibrate = SyncCalibrate(resource.calibrate)

    @property
    def families(self) -> tuple[SyncJobResource[Any, Any], ...]:
        """The resources of its families of jobs."""
        return (self.calibrate,)

    score = _Waited(ScoringSystem.score)

    def score_many(
        self,
        rows: Iterable[Any],
        *,
        scoring_spec: SpecLike,
        aggregation_method: AggregationMethod | str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unscored: UnscoredPolicy | None = None,
        ordered: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Iterator[Scored]:
        """A `Scored` per row; see `ScoringSystem.score_many`. `rows` is read in a thread, so it may block."""
        stream = self._async.score_many(
            _SizedInThread(rows) if isinstance(rows, Sized) else _InThread(rows),
            scoring_spec=scoring_spec,
            aggregation_method=aggregation_method,
            kwargs=kwargs,
            unscored=unscored,
            ordered=ordered,
            on_progress=on_progress,
        )
        return iter(WaitedStream(stream))


class _InThread:
    """Rows read in a thread, so that reading may block."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows

    async def __aiter__(self) -> AsyncIterator[Any]:
        iterator = iter(self._rows)
        while (row := await asyncio.to_thread(next, iterator, _END)) is not _END:
            yield row


# A class of its own, since `Sized` goes by whether the class has `__len__`.
class _SizedInThread(_InThread):
    def __len__(self) -> int:
        return len(self._rows)  # type: ignore[arg-type]


class SyncJobResource(Generic[StatusT, ItemT]):
    """`JobResource` for synchronous code."""

    def __init__(self, resource: JobResource[Any, StatusT, ItemT]) -> None:
        self._async = resource
        self.family = resource.family

    def start_job(self, *, idempotency_key: str | None = None, **fields: Any) -> SyncJob[StatusT, ItemT]:
        """See `JobResource.start_job`."""
        return SyncJob(loop_thread().run(self._async.start_job(idempotency_key=idempotency_key, **fields)))

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


def sync_job_resources(
    resources: Mapping[str, JobResource[Any, Any, Any]], *typed: SyncJobResource[Any, Any]
) -> dict[str, SyncJobResource[Any, Any]]:
    """The sync twin of each of `resources`: one of `typed`, else a generic one."""
    known = {twin.family.kind: twin for twin in typed}
    return {kind: known.get(kind) or SyncJobResource(resource) for kind, resource in resources.items()}


class SyncGenerateInputResponsePairs(SyncJobResource[SyntheticDataStatus, InputResponsePair]):
    """`client.data.generate_input_response_pairs` of a `PiClient`."""

    start_job = _starting(GenerateInputResponsePairs.start_job)  # type: ignore[assignment]


class SyncGenerateInputs(SyncJobResource[SyntheticInputsStatus, str]):
    """`client.data.generate` of a `PiClient`."""

    start_job = _starting(GenerateInputs.start_job)  # type: ignore[assignment]


class SyncCalibrate(SyncJobResource[CalibrationStatus, Any]):
    """`client.scoring_system.calibrate` of a `PiClient`."""

    start_job = _starting(Calibrate.start_job)  # type: ignore[assignment]


class SyncData:
    """`client.data` of a `PiClient`."""

    def __init__(self, data: Data) -> None:
        self.generate_input_response_pairs = SyncGenerateInputResponsePairs(data.generate_input_response_pairs)
        self.generate = SyncGenerateInputs(data.generate)

    @property
    def families(self) -> tuple[SyncJobResource[Any, Any], ...]:
        """The resources of these families."""
        return (self.generate_input_response_pairs, self.generate)


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

    def snapshot(self) -> JobSnapshot:
        """See `Job.snapshot`."""
        return loop_thread().run(self._async.snapshot())

    def cancel(self) -> str:
        """See `Job.cancel`."""
        return loop_thread().run(self._async.cancel())

    def data(self, start: int = 0) -> Iterator[ItemT]:
        """See `Job.data`."""
        return _each(self._async.data(start))

    def messages(self, start: int = 0) -> Iterator[str]:
        """See `Job.messages`."""
        return _each(self._async.messages(start))

    def result(self, timeout: float | None = None) -> StatusT:
        """See `Job.result`."""
        return loop_thread().run(self._async.result(timeout))


def _each(stream: JobStream[R]) -> Iterator[R]:
    # One step of the background loop brings all that has arrived, so that an item does not cost a change of threads.
    for batch in WaitedStream(stream.batches()):
        yield from batch
