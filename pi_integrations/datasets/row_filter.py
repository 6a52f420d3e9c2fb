"""Scores rows as they come, and keeps the good ones."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from pi_integrations.datasets.row import Row
from pi_integrations.datasets.source import JobSource
from pi_integrations.errors import PiUsageError
from pi_integrations.models import SpecLike, parse_spec

__all__ = ["DatasetCounts", "RowFilter"]

logger = logging.getLogger("pi_integrations.datasets")


@dataclass(slots=True)
class DatasetCounts:
    """What became of the rows of one iteration."""

    given: int = 0
    """Rows that were given."""
    below: int = 0
    """Rows left out because they scored below `min_score`."""
    unscored: int = 0
    """Rows that have no score; left out when there is a `min_score`, given without scores when there is none."""


class RowFilter:
    """Scores by a spec, if there is one, and compares with a lowest total, if there is one.

    Raises:
        PiUsageError: when the spec or the number is none.
    """

    def __init__(self, source: JobSource, scoring_spec: SpecLike | None, min_score: float | None) -> None:
        if min_score is not None and not 0 <= min_score <= 1:
            raise PiUsageError(f"min_score is {min_score}; give a number from 0 to 1")
        self._source = source
        self._spec = None if scoring_spec is None else parse_spec(scoring_spec)
        self._min_score = min_score
        self.counts = DatasetCounts()

    async def kept(self, rows: AsyncGenerator[Row, None]) -> AsyncGenerator[Row, None]:
        """The rows that are good enough, in order, with their scores."""
        counts = self.counts = DatasetCounts()
        scored = rows if self._spec is None else self._scored(rows)
        try:
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
        finally:
            await scored.aclose()
        if counts.unscored:
            logger.warning("%d rows have no score; %d were given", counts.unscored, counts.given)

    async def _scored(self, rows: AsyncGenerator[Row, None]) -> AsyncGenerator[Row, None]:
        assert self._spec is not None
        results = self._source.client.scoring_system.score_many(_with_output(rows), scoring_spec=self._spec)
        try:
            async for each in results:
                if each.error is not None:
                    logger.debug("row %s has no score: %s", each.row.id, each.error)
                yield replace(each.row, scores=each.result)
        finally:
            await results.aclose()


async def _with_output(rows: AsyncGenerator[Row, None]) -> AsyncGenerator[Row, None]:
    try:
        async for row in rows:
            if row.llm_output is None:
                raise PiUsageError("scoring_spec needs pairs to score; a job of inputs has no llm_output")
            yield row
    finally:
        await rows.aclose()
