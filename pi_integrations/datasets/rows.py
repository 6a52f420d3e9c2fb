"""Rows of a dataset, and the job they come from: an existing one, or one that is started when first needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from pi_integrations.client import AnyClient, AsyncPiClient, Job, PiClient, SyncJob
from pi_integrations.client.loop_thread import loop_thread
from pi_integrations.errors import PiUsageError
from pi_integrations.models import InputResponsePair, ScoreResult, SpecLike, parse_spec

__all__ = ["DatasetCounts", "DatasetRow", "JobSource", "Kind", "RowFilter"]

Kind = Literal["pairs", "inputs"]
AnyJob = Job[Any, Any]


class JobSource:
    """One job: a handle, an id, or one that is started at the first call of `job`, and only once.

    Args:
        job: A `Job` or a `SyncJob`.
        job_id: Id of an existing job, in place of `job`.
        start: In place of both, the arguments of `start_job` for a new job, such as
            `{"num_pairs_to_generate": 50, "seeds": []}`.
        kind: `pairs` or `inputs`: the items of the job that `job_id` or `start` names.
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
            raise PiUsageError("give one of job (a handle), job_id (of an existing job) and start (to start one)")
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
        """The client; by default one for the endpoint in the environment."""
        return self._client.asynchronous

    @property
    def job_id(self) -> str | None:
        """The job's id; None while it is not started."""
        return self._job.job_id if self._job is not None else None

    @property
    def _family(self) -> Any:
        return self.client.job_resources[self._kind]

    async def job(self) -> AnyJob:
        """The job, started if it is not.

        Raises:
            PiError: when it cannot be started; the next call tries again.
        """
        if self._job is None:
            # On the one background loop, so that two loops or threads start one job.
            self._job = await loop_thread().hop(self._started())
        return self._job

    async def _started(self) -> AnyJob:
        if self._starting is None or (self._starting.done() and self._starting.exception()):
            self._starting = asyncio.create_task(self._family.start_job(**self._start or {}))
        return await asyncio.shield(self._starting)


logger = logging.getLogger("pi_integrations.datasets")


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One generated pair or input, with its job and its scores.

    Attributes:
        job_id: The job that generated it.
        index: Its place among the job's items, from 0; `job_id` and `index` identify the row for good.
        llm_input: Input of the application.
        llm_output: Output of the application; None for a job of inputs.
        scores: Its scores, by the job's scoring spec or by the dataset's; None without either.
    """

    job_id: str
    index: int
    llm_input: str
    llm_output: str | None = None
    scores: ScoreResult | None = None

    @classmethod
    def of(cls, job_id: str, index: int, item: InputResponsePair | str) -> DatasetRow:
        """The row of an item of a job's data stream."""
        if isinstance(item, str):
            return cls(job_id, index, item)
        return cls(job_id, index, item.llm_input, item.llm_output, item.scores)

    @property
    def id(self) -> str:
        """`JOB_ID-INDEX`."""
        return f"{self.job_id}-{self.index}"

    @property
    def metadata(self) -> dict[str, Any]:
        """`job_id` and `index`; with scores also `total_score` and `question_scores`, a score or None by label."""
        values: dict[str, Any] = {"job_id": self.job_id, "index": self.index}
        if self.scores is not None:
            values["total_score"] = self.scores.total_score
            values["question_scores"] = {each.key: each.score for each in self.scores.questions()}
        return values

    def as_dict(self) -> dict[str, Any]:
        """The row as plain values: `id`, `llm_input`, `llm_output` if it has one, then the metadata."""
        output = {} if self.llm_output is None else {"llm_output": self.llm_output}
        return {"id": self.id, "llm_input": self.llm_input, **output, **self.metadata}


@dataclass(slots=True)
class DatasetCounts:
    """Numbers of rows in one iteration."""

    given: int = 0
    """Rows returned."""
    below: int = 0
    """Rows left out because they scored below `min_score`."""
    unscored: int = 0
    """Rows without a score; left out with a `min_score`, returned without scores otherwise."""


class RowFilter:
    """Scores rows by a spec, if there is one, and leaves out those below `min_score`, if there is one.

    Raises:
        PiUsageError: when the spec or the number is not valid.
    """

    def __init__(self, source: JobSource, scoring_spec: SpecLike | None, min_score: float | None) -> None:
        if min_score is not None and not 0 <= min_score <= 1:
            raise PiUsageError(f"min_score is {min_score}; give a number from 0 to 1")
        self._source = source
        self._spec = None if scoring_spec is None else parse_spec(scoring_spec)
        self._min_score = min_score
        self.counts = DatasetCounts()

    async def kept(self, rows: AsyncGenerator[DatasetRow, None]) -> AsyncGenerator[DatasetRow, None]:
        """The rows that are good enough, in order, with their scores."""
        counts = self.counts = DatasetCounts()
        async with aclosing(rows if self._spec is None else self._scored(rows)) as scored:
            async for row in scored:
                if row.scores is None and (self._spec is not None or self._min_score is not None):
                    counts.unscored += 1
                    if self._min_score is not None:
                        continue
                elif row.scores is not None and row.scores.total_score < (self._min_score or 0):
                    counts.below += 1
                    continue
                counts.given += 1
                yield row
        if counts.unscored:
            logger.warning("%d rows have no score; %d were returned", counts.unscored, counts.given)

    async def _scored(self, rows: AsyncGenerator[DatasetRow, None]) -> AsyncGenerator[DatasetRow, None]:
        assert self._spec is not None
        score_many = self._source.client.scoring_system.score_many
        async with aclosing(score_many(_with_output(rows), scoring_spec=self._spec)) as results:
            async for each in results:
                if each.error is not None:
                    logger.debug("row %s has no score: %s", each.row.id, each.error)
                yield replace(each.row, scores=each.result)


async def _with_output(rows: AsyncGenerator[DatasetRow, None]) -> AsyncGenerator[DatasetRow, None]:
    async with aclosing(rows):
        async for row in rows:
            if row.llm_output is None:
                raise PiUsageError("scoring_spec needs pairs to score; a job of inputs has no llm_output")
            yield row
