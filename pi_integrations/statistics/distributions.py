"""Distribution of scores by label, as counts, so that a million scores fit in little memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pi_integrations.statistics.agreement import Counts, Interval, counted_roc_auc, counted_roc_auc_interval

__all__ = ["STEPS", "Bin", "ScoreDistribution"]

STEPS = 10_000
"""Steps from 0 to 1: the wire rounds scores to 4 decimals."""


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
    """Counts of scores in [0, 1] in steps of 1e-4, by label; memory does not grow with the number of scores.

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
        """Counts one score, clipped to [0, 1]. `positive` is its label, None without one."""
        step = round(min(max(score, 0.0), 1.0) * STEPS)
        self._counts[positive][step] += 1
        self._sum += step

    @property
    def count(self) -> int:
        """Number of scores."""
        return sum(counter.total() for counter in self._counts.values())

    @property
    def mean(self) -> float | None:
        """The mean score; None without scores."""
        count = self.count
        return self._sum / STEPS / count if count else None

    def mean_of(self, positive: bool | None) -> float | None:
        """The mean score of the exchanges with this label; None without scores."""
        counts = self._counts[positive]
        total = counts.total()
        return sum(step * n for step, n in counts.items()) / STEPS / total if total else None

    @property
    def labelled(self) -> tuple[int, int]:
        """Number of scores of exchanges labelled good, and of those labelled bad."""
        return self._counts[True].total(), self._counts[False].total()

    def percentile(self, share: float) -> float | None:
        """The smallest score that at least a `share` in [0, 1] of all scores do not exceed; None without scores."""
        counts: Counter[int] = sum(self._counts.values(), Counter())
        if not counts:
            return None
        steps = sorted(counts)
        reached = np.cumsum([counts[step] for step in steps])
        return steps[int(np.searchsorted(reached, share * reached[-1]))] / STEPS

    def roc_auc(self) -> float | None:
        """How well the scores separate good from bad, in [0, 1]; None unless both labels occur."""
        return counted_roc_auc(*self._by_class())

    def roc_auc_interval(self, *, resamples: int = 2_000, seed: int = 0) -> Interval | None:
        """`roc_auc` with its 95 % bootstrap interval; None unless both labels occur."""
        return counted_roc_auc_interval(*self._by_class(), resamples=resamples, seed=seed)

    def bins(self, number: int) -> list[Bin]:
        """A histogram of `number` equal bins over [0, 1]."""
        counts = {label: [0] * number for label in self._counts}
        for label, counter in self._counts.items():
            # In integers: 0.29 * 100 is a little less than 29, and would fall into the bin below.
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
