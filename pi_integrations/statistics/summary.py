"""The summary of a scored file: distributions, the lowest-scored exchanges, and failures, in bounded memory."""

from __future__ import annotations

import re
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from pi_integrations.models import DimensionSpec, OutlinedQuestion, Question, QuestionScore, ScoreResult, Usage, outline
from pi_integrations.statistics.distributions import ScoreDistribution

__all__ = [
    "ExampleExchange",
    "Excerpt",
    "Failure",
    "FailureGroup",
    "FailureLog",
    "LowestItems",
    "QuestionSummary",
    "ScoredRow",
    "Summary",
    "UsageTotals",
]

_EXCERPT_CHARACTERS = 20_000
_FAILURE_EXAMPLES = 5
_FAILURE_GROUPS = 50
_MESSAGE_CHARACTERS = 2_000
# Messages of one kind of failure differ in numbers and in quoted text.
_VARIABLE = re.compile(r"\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"|`[^`]*`")
_OTHERS = "(other reasons)"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One row of a scored file, with its `result`, or the `error` that left it without one.

    `number` is its position in the file, from 1; `label` is as written there, and `positive` what it means: True for
    good, False for bad, None without a label. `extra` holds the file's other columns.
    """

    number: int
    id: str | None
    llm_input: str
    llm_output: str
    label: str | float | bool | None = None
    positive: bool | None = None
    result: ScoreResult | None = None
    error: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a text, and the number of characters of the whole text."""

    text: str
    length: int

    @classmethod
    def of(cls, text: str) -> Self:
        """The first 20,000 characters of `text`."""
        return cls(text[:_EXCERPT_CHARACTERS], len(text))


@dataclass(frozen=True, slots=True)
class ExampleExchange:
    """A scored exchange that a summary shows, its texts cut to 20,000 characters."""

    number: int
    id: str | None
    label: str | None
    positive: bool | None
    llm_input: Excerpt
    llm_output: Excerpt
    result: ScoreResult


class LowestItems(Generic[T]):
    """The `size` items with the lowest keys; of equal keys, the first added stay.

    Example:
        >>> lowest = LowestItems(2)
        >>> for word in ("pear", "fig", "banana"):
        ...     lowest.add(len(word), word)
        >>> lowest.items
        ['fig', 'pear']
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: list[tuple[float, T]] = []

    def accepts(self, key: float) -> bool:
        """Whether an item with this key would be kept now."""
        return len(self._entries) < self._size or (bool(self._entries) and key < self._entries[-1][0])

    def add(self, key: float, item: T) -> None:
        """Keeps `item` if its key is low enough."""
        if self.accepts(key):
            # Equal keys stay in the order of arrival, so that the last one to arrive is dropped.
            insort(self._entries, (key, item), key=lambda entry: entry[0])
            del self._entries[self._size :]

    @property
    def items(self) -> list[T]:
        """The items kept, lowest key first."""
        return [item for _, item in self._entries]


@dataclass(frozen=True, slots=True)
class Failure:
    """A row without a score, by its position in the file, and the reason."""

    number: int
    id: str | None
    message: str


@dataclass(slots=True)
class FailureGroup:
    """Failures whose messages differ only in numbers and quoted text."""

    count: int = 0
    examples: list[Failure] = field(default_factory=list)


class FailureLog:
    """Failures counted by kind, with the first 5 of each of the first 50 kinds."""

    def __init__(self) -> None:
        self._groups: dict[str, FailureGroup] = {}
        self.count = 0

    def add(self, number: int, id: str | None, message: str) -> None:
        """Counts one failed row."""
        self.count += 1
        kind = _VARIABLE.sub("…", message[:_MESSAGE_CHARACTERS])
        if kind not in self._groups and len(self._groups) >= _FAILURE_GROUPS:
            kind = _OTHERS
        group = self._groups.setdefault(kind, FailureGroup())
        group.count += 1
        if len(group.examples) < _FAILURE_EXAMPLES:
            group.examples.append(Failure(number, id, _shortened(message)))

    @property
    def groups(self) -> list[FailureGroup]:
        """The kinds, most frequent first."""
        return sorted(self._groups.values(), key=lambda group: -group.count)


def _shortened(message: str) -> str:
    return message if len(message) <= _MESSAGE_CHARACTERS else message[: _MESSAGE_CHARACTERS - 1] + "…"


@dataclass(slots=True)
class QuestionSummary:
    """The scores of one question.

    Attributes:
        question: The question, from the spec.
        scores: Raw scores, before the calibration curve.
        unscored: Rows in which this question has no score, by reason.
        methods: How often each reading method made a score.
    """

    question: OutlinedQuestion
    scores: ScoreDistribution = field(default_factory=ScoreDistribution)
    unscored: FailureLog = field(default_factory=FailureLog)
    methods: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class UsageTotals:
    """Sums over the results that report usage; None where none does."""

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
    """Counts, distributions, the lowest-scored exchanges and the failures of a scored file.

    Memory does not grow with the number of rows: scores are counted in steps of 1e-4, and only `keep` exchanges are
    kept whole.

    Example:
        >>> spec = [Question(question="Is the answer polite?", label="Polite")]
        >>> result = ScoreResult(question_scores={"Polite": 0.9}, total_score=0.9)
        >>> summary = Summary.from_rows([ScoredRow(1, None, "Hi", "Hello!", result=result)], spec)
        >>> summary.scored, summary.total.mean
        (1, 0.9)

    Attributes:
        spec: The scoring spec.
        rows: Number of rows; `scored` plus `failures.count`.
        scored: Number of rows with a total.
        total: Distribution of the totals.
        failures: Rows without a total, by reason.
        judges: Number of results by the judge's fingerprint; None for a service that does not name its judge.
        usage: Calls, tokens and cost of the results that report them.
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
        self._worst: LowestItems[ExampleExchange] = LowestItems(keep)
        self._low_good: LowestItems[ExampleExchange] = LowestItems(min(keep, 5))
        self._high_bad: LowestItems[ExampleExchange] = LowestItems(min(keep, 5))

    @classmethod
    def from_rows(cls, rows: Iterable[ScoredRow], spec: Sequence[Question] | DimensionSpec, *, keep: int = 50) -> Self:
        """The summary of `rows`, which are iterated once."""
        summary = cls(spec, keep=keep)
        for row in rows:
            summary.add(row)
        return summary

    def add(self, row: ScoredRow) -> None:
        """Adds one row."""
        self.rows += 1
        if row.result is None:
            self.failures.add(row.number, row.id, row.error or "no score and no reason given")
            return
        self.scored += 1
        self.judges[row.result.judge] += 1
        self.total.add(row.result.total_score, positive=row.positive)
        if row.result.usage:
            self.usage.add(row.result.usage)
        for score in row.result.questions():
            self._add_question_score(row, score)
        self._keep_example(row, row.result)

    @property
    def questions(self) -> list[QuestionSummary]:
        """One summary per question: in the order of the spec, then any that only the results name."""
        return list(self._questions.values())

    @property
    def worst(self) -> list[ExampleExchange]:
        """The exchanges with the lowest totals, lowest first."""
        return self._worst.items

    @property
    def low_good(self) -> list[ExampleExchange]:
        """Up to 5 exchanges labelled good with the lowest totals, lowest first."""
        return self._low_good.items

    @property
    def high_bad(self) -> list[ExampleExchange]:
        """Up to 5 exchanges labelled bad with the highest totals, highest first."""
        return self._high_bad.items

    def _add_question_score(self, row: ScoredRow, score: QuestionScore) -> None:
        question = self._questions.get(score.key)
        if question is None:
            unknown = OutlinedQuestion(score.key, score.key, kind="other", weight=0, share=0)
            question = self._questions[score.key] = QuestionSummary(unknown)
        if score.score is None:
            question.unscored.add(row.number, row.id, score.reason or "no reason given")
            return
        question.scores.add(score.score, positive=row.positive)
        if score.method:
            question.methods[score.method] += 1

    def _keep_example(self, row: ScoredRow, result: ScoreResult) -> None:
        total = result.total_score
        lists = [(self._worst, total)]
        if row.positive is not None:
            lists.append((self._low_good, total) if row.positive else (self._high_bad, -total))
        accepting = [(examples, key) for examples, key in lists if examples.accepts(key)]
        if accepting:
            example = _example(row, result)
            for examples, key in accepting:
                examples.add(key, example)


def _example(row: ScoredRow, result: ScoreResult) -> ExampleExchange:
    return ExampleExchange(
        number=row.number,
        id=row.id,
        label=None if row.label is None else str(row.label),
        positive=row.positive,
        llm_input=Excerpt.of(row.llm_input),
        llm_output=Excerpt.of(row.llm_output),
        result=result,
    )
