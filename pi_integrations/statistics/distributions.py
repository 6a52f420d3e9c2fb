"""Distributions of scores and of paired differences, as counts, so that a million scores fit in little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pi_integrations.models import DimensionSpec, OutlinedQuestion, Question, ScoreResult, outline
from pi_integrations.statistics.agreement import (
    Counts,
    Interval,
    Outcomes,
    counted_bootstrap,
    counted_roc_auc,
    counted_roc_auc_interval,
)

__all__ = ["STEPS", "Bin", "Comparison", "PairedScores", "ScoreDistribution"]

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
        self._sum = 0  # in whole steps: exact, whatever the order of the scores

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


# Draws in one bootstrap: 10,000 resamples of up to 4,000 distinct differences, fewer resamples when there are more.
_DRAWS = 40_000_000


class PairedScores:
    """Scores of the same inputs in two sets A and B, as counts of differences B − A in steps of 1e-4."""

    def __init__(self) -> None:
        self._differences: Counter[int] = Counter()
        self._sum_a = 0  # in whole steps: exact, whatever the order of the rows
        self._sum_b = 0

    def add(self, a: float, b: float) -> None:
        """Adds one pair of scores in [0, 1]."""
        in_a, in_b = round(a * STEPS), round(b * STEPS)
        self._sum_a += in_a
        self._sum_b += in_b
        self._differences[in_b - in_a] += 1

    @property
    def count(self) -> int:
        """Number of pairs."""
        return self._differences.total()

    @property
    def mean_a(self) -> float | None:
        """Mean score of A; None without pairs."""
        return self._sum_a / STEPS / self.count if self.count else None

    @property
    def mean_b(self) -> float | None:
        """Mean score of B; None without pairs."""
        return self._sum_b / STEPS / self.count if self.count else None

    def difference(self, *, seed: int = 0) -> Interval | None:
        """Mean of B − A with its 95 % paired bootstrap interval; None without pairs."""
        steps = sorted(self._differences)
        counts = np.array([self._differences[step] for step in steps], dtype=np.int64)
        resamples = max(1_000, min(10_000, _DRAWS // max(len(steps), 1)))
        return counted_bootstrap(np.array(steps) / STEPS, counts, resamples=resamples, seed=seed)

    @property
    def outcomes(self) -> Outcomes:
        """Number of pairs in which B scores higher than A (wins), the same (ties) and lower (losses)."""
        counts = self._differences
        return Outcomes(
            wins=sum(n for step, n in counts.items() if step > 0),
            ties=counts[0],
            losses=sum(n for step, n in counts.items() if step < 0),
        )


class Comparison:
    """Answers A and B to the same inputs: their totals and question scores, in pairs.

    Example:
        >>> spec = [Question(question="Is the answer polite?", label="Polite")]
        >>> comparison = Comparison(spec, name_a="before.jsonl", name_b="after.jsonl")
        >>> comparison.add(
        ...     ScoreResult(question_scores={"Polite": 0.5}, total_score=0.5),
        ...     ScoreResult(question_scores={"Polite": 0.75}, total_score=0.75),
        ... )
        >>> comparison.total.difference().estimate
        0.25

    Attributes:
        name_a: Name of the first set.
        name_b: Name of the second set.
        total: The totals.
        unpaired: Number of rows without a scored row for the same input in the other set.
        judges: Number of results by the judge's fingerprint; None for a service that does not name its judge.
    """

    def __init__(self, spec: Sequence[Question] | DimensionSpec, *, name_a: str, name_b: str) -> None:
        self.name_a = name_a
        self.name_b = name_b
        self.total = PairedScores()
        self.unpaired = 0
        self.judges: Counter[str | None] = Counter()
        self._questions = {question.key: (question, PairedScores()) for question in outline(spec)}

    def add(self, a: ScoreResult, b: ScoreResult) -> None:
        """Adds the results of both answers to one input; a question counts when both have a score for it."""
        self.judges.update([a.judge, b.judge])
        self.total.add(a.total_score, b.total_score)
        scores_a = {question.key: question.score for question in a.questions()}
        for question in b.questions():
            score_a = scores_a.get(question.key)
            if question.key in self._questions and score_a is not None and question.score is not None:
                self._questions[question.key][1].add(score_a, question.score)

    @property
    def questions(self) -> list[tuple[OutlinedQuestion, PairedScores]]:
        """Each question of the spec, in order, with its pairs."""
        return list(self._questions.values())
