"""Comparison of two sets of answers to the same inputs, collected pair by pair in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pi_integrations.models import DimensionSpec, OutlinedQuestion, Question, ScoreResult, outline
from pi_integrations.statistics.agreement import Interval, Outcomes, counted_bootstrap
from pi_integrations.statistics.distributions import STEPS

__all__ = ["Comparison", "PairedScores"]

# Draws in one bootstrap: 10,000 resamples of up to 4,000 distinct differences, fewer resamples when there are more.
_DRAWS = 40_000_000


class PairedScores:
    """Scores of the same inputs in two sets A and B, as counts of differences B − A in steps of 1e-4."""

    def __init__(self) -> None:
        self._differences: Counter[int] = Counter()
        self._sum_a = 0
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
