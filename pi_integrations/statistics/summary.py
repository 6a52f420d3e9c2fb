"""What a scored file amounts to, built row by row in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pi_integrations.cli.failures import FailureLog
from pi_integrations.cli.kept import KeptExchange, Lowest, excerpt
from pi_integrations.cli.rows import Row
from pi_integrations.models import DimensionSpec, Question, QuestionScore, ScoreResult, Usage
from pi_integrations.models.outline import OutlinedQuestion, outline
from pi_integrations.statistics.distributions import ScoreDistribution

__all__ = ["QuestionSummary", "ScoredRow", "Summary", "UsageTotals"]


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One row of the file with its outcome: a `result`, or the `error` that kept it from having one."""

    number: int
    id: str | None
    llm_input: str
    llm_output: str
    label: str | float | bool | None = None
    positive: bool | None = None
    result: ScoreResult | None = None
    error: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Row, *, result: ScoreResult | None = None, error: str | None = None) -> Self:
        """`row` with its outcome; a row that could not be read brings its own error."""
        return cls(
            number=row.number,
            id=row.id,
            llm_input=row.llm_input,
            llm_output=row.llm_output,
            label=row.label,
            positive=row.positive,
            result=result,
            error=row.error or error,
            extra=row.extra,
        )


@dataclass(slots=True)
class QuestionSummary:
    """All scores of one question.

    Attributes:
        question: As the spec has it.
        scores: Raw scores, before the calibration curve.
        unscored: Rows in which this question got no score, by reason.
        methods: How often each reading made a score.
    """

    question: OutlinedQuestion
    scores: ScoreDistribution = field(default_factory=ScoreDistribution)
    unscored: FailureLog = field(default_factory=FailureLog)
    methods: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class UsageTotals:
    """Sums over the results that say what they cost; None where none does."""

    calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None

    def add(self, usage: Usage) -> None:
        """Adds one result's usage; unknown numbers add nothing."""
        for name in ("calls", "input_tokens", "output_tokens", "cost_usd"):
            value = getattr(usage, name)
            if value is not None:
                setattr(self, name, (getattr(self, name) or 0) + value)


class Summary:
    """Counts, distributions, the worst exchanges and the failures of a scored file.

    Memory does not grow with the rows added: scores are counted in steps of 1e-4, and only `keep` exchanges stay whole.

    Example:
        >>> spec = [Question(question="Is the answer polite?", label="Polite")]
        >>> result = ScoreResult(question_scores={"Polite": 0.9}, total_score=0.9)
        >>> summary = Summary.from_rows([ScoredRow(1, None, "Hi", "Hello!", result=result)], spec)
        >>> summary.scored, summary.total.mean
        (1, 0.9)

    Attributes:
        spec: What was scored against.
        rows: How many rows were added; `scored` plus `failures.count`.
        scored: How many have a total.
        total: Distribution of the totals.
        questions: One summary a question, in the order of the spec.
        failures: Rows without a total, by reason.
        judges: How many results each judge made, by fingerprint; None for a service that does not say.
        usage: What the results cost, as far as they say.
    """

    def __init__(self, spec: Sequence[Question] | DimensionSpec, *, keep: int = 50) -> None:
        self.spec = spec
        self.rows = 0
        self.scored = 0
        self.total = ScoreDistribution()
        self.failures = FailureLog()
        self.judges: Counter[str | None] = Counter()
        self.usage = UsageTotals()
        self._questions = {question.key: QuestionSummary(question) for question in outline(spec)}
        self._worst: Lowest[KeptExchange] = Lowest(keep)
        self._low_good: Lowest[KeptExchange] = Lowest(min(keep, 5))
        self._high_bad: Lowest[KeptExchange] = Lowest(min(keep, 5))

    @classmethod
    def from_rows(cls, rows: Iterable[ScoredRow], spec: Sequence[Question] | DimensionSpec, *, keep: int = 50) -> Self:
        """The summary of `rows`, read once."""
        summary = cls(spec, keep=keep)
        for row in rows:
            summary.add(row)
        return summary

    def add(self, row: ScoredRow) -> None:
        """Adds one row with its outcome."""
        self.rows += 1
        if row.result is None:
            self.failures.add(row.number, row.id, row.error or "no score and no reason given")
            return
        self.scored += 1
        self.judges[row.result.judge] += 1
        self.total.add(row.result.total_score, positive=row.positive)
        if row.result.usage:
            self.usage.add(row.result.usage)
        for outcome in row.result.questions():
            self._add_outcome(row, outcome)
        self._keep(row, row.result)

    @property
    def questions(self) -> list[QuestionSummary]:
        """One summary a question: in the order of the spec, then any that only the results name."""
        return list(self._questions.values())

    @property
    def worst(self) -> list[KeptExchange]:
        """The exchanges with the lowest totals, lowest first."""
        return self._worst.items

    @property
    def low_good(self) -> list[KeptExchange]:
        """Up to 5 exchanges labelled good with the lowest totals, lowest first."""
        return self._low_good.items

    @property
    def high_bad(self) -> list[KeptExchange]:
        """Up to 5 exchanges labelled bad with the highest totals, highest first."""
        return self._high_bad.items

    def _add_outcome(self, row: ScoredRow, outcome: QuestionScore) -> None:
        found = self._questions.get(outcome.key)
        if found is None:
            stranger = OutlinedQuestion(outcome.key, outcome.key, kind="other", weight=0, share=0)
            found = self._questions[outcome.key] = QuestionSummary(stranger)
        if outcome.score is None:
            found.unscored.add(row.number, row.id, outcome.reason or "no reason given")
            return
        found.scores.add(outcome.score, positive=row.positive)
        if outcome.method:
            found.methods[outcome.method] += 1

    def _keep(self, row: ScoredRow, result: ScoreResult) -> None:
        total = result.total_score
        places = [(self._worst, total)]
        if row.positive is not None:
            places.append((self._low_good, total) if row.positive else (self._high_bad, -total))
        wanted = [(place, key) for place, key in places if place.admits(key)]
        if wanted:
            kept = _kept(row, result)
            for place, key in wanted:
                place.add(key, kept)


def _kept(row: ScoredRow, result: ScoreResult) -> KeptExchange:
    return KeptExchange(
        number=row.number,
        id=row.id,
        label=None if row.label is None else str(row.label),
        positive=row.positive,
        llm_input=excerpt(row.llm_input),
        llm_output=excerpt(row.llm_output),
        result=result,
    )
