"""One row of a dataset, and the filter that scores rows and leaves out the weak ones."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from pi_integrations.datasets.source import JobSource
from pi_integrations.errors import PiUsageError
from pi_integrations.models import InputResponsePair, ScoreResult, SpecLike, parse_spec

__all__ = ["DatasetCounts", "DatasetRow", "RowFilter"]

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
