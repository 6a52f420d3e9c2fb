"""Where rows come from: a job that is there already, or one that is started when first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from pi_integrations.client import AnyClient, AsyncPiClient, Job, PiClient, SyncJob
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.errors import PiUsageError

__all__ = ["JobSource", "Kind"]

Kind = Literal["pairs", "inputs"]
AnyJob = Job[Any, Any]


class JobSource:
    """One job: given, named by its id, or started once, whoever asks first and however often.

    Args:
        job: A `Job` or a `SyncJob`.
        job_id: Of a job that exists; needs no `job`.
        start: Arguments of `start_job` for a job to be started at first need, such as
            `{"num_pairs_to_generate": 50, "seeds": []}`.
        kind: `pairs` or `inputs`: what a job named or started makes.
        client: Reaches the service; default: an `AsyncPiClient` for the endpoint in the environment.

    Raises:
        PiUsageError: unless exactly one of `job`, `job_id` and `start` is given.
    """

    def __init__(
        self,
        job: Job[Any, Any] | SyncJob[Any, Any] | None = None,
        *,
        job_id: str | None = None,
        start: Mapping[str, Any] | None = None,
        kind: Kind = "pairs",
        client: AsyncPiClient | PiClient | None = None,
    ) -> None:
        if sum(given is not None for given in (job, job_id, start)) != 1:
            raise PiUsageError("give one of job (a handle), job_id (of a job that exists) and start (to start one)")
        if kind not in ("pairs", "inputs"):
            raise PiUsageError(f"kind is {kind!r}; give pairs or inputs")
        if job is not None and not isinstance(job, Job | SyncJob):
            raise PiUsageError(f"job is a {type(job).__name__}; give what start_job or job(job_id) returned")
        self._client = AnyClient(client)
        self._kind = kind
        self._start = dict(start) if start is not None else None
        self._job: AnyJob | None = job.asynchronous if isinstance(job, SyncJob) else job
        if job_id is not None:
            self._job = self._family.job(job_id)
        self._starting: asyncio.Task[AnyJob] | None = None

    @property
    def client(self) -> AsyncPiClient:
        """The client; made from the environment when none was given."""
        return self._client.asynchronous

    @property
    def job_id(self) -> str | None:
        """The job's id; None while it is not started."""
        return self._job.job_id if self._job is not None else None

    @property
    def _family(self) -> Any:
        return self.client.job_resources[self._kind]

    async def job(self) -> AnyJob:
        """The job, started if need be.

        Raises:
            PiError: when it cannot be started; the next call tries again.
        """
        if self._job is None:
            # On the one background loop, so that two loops or threads that ask at once start one job.
            self._job = await loop_thread().hop(self._started())
        return self._job

    async def _started(self) -> AnyJob:
        if self._starting is None or (self._starting.done() and self._starting.exception()):
            self._starting = asyncio.create_task(self._family.start_job(**self._start or {}))
        return await asyncio.shield(self._starting)
