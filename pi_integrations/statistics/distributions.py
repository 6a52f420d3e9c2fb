"""How often each score occurred, by label: all that the table and the report need of a million scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pi_integrations.statistics.agreement import (
    Counts,
    Floats,
    Interval,
    counted_roc_auc,
    counted_roc_auc_interval,
)

__all__ = ["STEPS", "Bin", "ScoreDistribution"]

STEPS = 10_000
"""Resolution of a score: the wire rounds scores to 4 decimals."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a histogram over [low, high); the last bin includes 1."""

    low: float
    high: float
    good: int
    bad: int
    unlabelled: int

    @property
    def count(self) -> int:
        """All scores in the bin."""
        return self.good + self.bad + self.unlabelled


class ScoreDistribution:
    """Counts of scores in [0, 1] in steps of 1e-4, kept apart by label: memory does not grow with the scores added.

    Example:
        >>> scores = ScoreDistribution()
        >>> scores.add(0.25, positive=False)
        >>> scores.add(0.75, positive=True)
        >>> scores.mean, scores.roc_auc()
        (0.5, 1.0)
    """

    def __init__(self) -> None:
        self._counts: dict[bool | None, Counter[int]] = {True: Counter(), False: Counter(), None: Counter()}
        self._sum = 0

    def add(self, score: float, *, positive: bool | None = None) -> None:
        """Counts one score; one outside [0, 1] counts as the nearer end. `positive` is its label, None without one."""
        step = round(min(max(score, 0.0), 1.0) * STEPS)
        self._counts[positive][step] += 1
        self._sum += step

    @property
    def count(self) -> int:
        """How many scores there are."""
        return sum(counter.total() for counter in self._counts.values())

    @property
    def mean(self) -> float | None:
        """The mean score; None without scores."""
        count = self.count
        return self._sum / STEPS / count if count else None

    def mean_of(self, positive: bool | None) -> float | None:
        """The mean score of one label; None without scores."""
        counts = self._counts[positive]
        total = counts.total()
        return sum(step * n for step, n in counts.items()) / STEPS / total if total else None

    @property
    def labelled(self) -> tuple[int, int]:
        """How many scores belong to good and to bad exchanges."""
        return self._counts[True].total(), self._counts[False].total()

    def percentile(self, share: float) -> float | None:
        """The smallest score that at least `share`, in [0, 1], of the scores do not exceed; None without scores."""
        values, counts = self._table(None, True, False)
        if not values.size:
            return None
        return float(values[np.searchsorted(np.cumsum(counts), share * counts.sum())])

    def roc_auc(self) -> float | None:
        """How well the scores separate good from bad, in [0, 1]; None without both labels."""
        return counted_roc_auc(*self._by_class())

    def roc_auc_interval(self, *, resamples: int = 2_000, seed: int = 0) -> Interval | None:
        """`roc_auc` with its 95 % bootstrap interval; None without both labels."""
        return counted_roc_auc_interval(*self._by_class(), resamples=resamples, seed=seed)

    def bins(self, number: int) -> list[Bin]:
        """A histogram of `number` equal bins over [0, 1]."""
        counts = {label: [0] * number for label in self._counts}
        for label, counter in self._counts.items():
            for step, occurred in counter.items():
                counts[label][min(step * number // STEPS, number - 1)] += occurred
        return [
            Bin(i / number, (i + 1) / number, counts[True][i], counts[False][i], counts[None][i]) for i in range(number)
        ]

    def _by_class(self) -> tuple[Counts, Counts]:
        steps = sorted(self._counts[True].keys() | self._counts[False].keys())
        good, bad = (self._counts[label] for label in (True, False))
        return (
            np.array([good[step] for step in steps], dtype=np.int64),
            np.array([bad[step] for step in steps], dtype=np.int64),
        )

    def _table(self, *labels: bool | None) -> tuple[Floats, Counts]:
        together: Counter[int] = Counter()
        for label in labels:
            together += self._counts[label]
        steps = sorted(together)
        return np.array(steps) / STEPS, np.array([together[step] for step in steps], dtype=np.int64)
