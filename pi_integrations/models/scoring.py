"""`POST /scoring_system/score`: what is sent, what it answers, and how an exchange becomes one input and one output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from pi_integrations.models.specs import DimensionSpec, ScoringSpec

__all__ = [
    "AggregationMethod",
    "DimensionScore",
    "Provenance",
    "QuestionProvenance",
    "QuestionScore",
    "ScoreRequest",
    "ScoreResult",
    "Usage",
    "compose_llm_input",
]

Score = Annotated[FiniteFloat, Field(ge=0, le=1)]


class AggregationMethod(StrEnum):
    """The weighted mean that makes the total of a flat spec."""

    ARITHMETIC_MEAN = "ARITHMETIC_MEAN"
    GEOMETRIC_MEAN = "GEOMETRIC_MEAN"
    HARMONIC_MEAN = "HARMONIC_MEAN"


class ScoreRequest(BaseModel):
    """The body of `POST /scoring_system/score`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    llm_input: str
    """What the application was asked; may be empty."""
    llm_output: str
    """What it answered: the text to score."""
    scoring_spec: ScoringSpec
    """The rubric; its generation decides the shape of the response."""
    aggregation_method: AggregationMethod | None = None
    """Mean of a flat spec, in either case; default geometric. A dimension spec is always arithmetic."""
    kwargs: dict[str, Any] | None = None
    """Handed to code questions."""

    @field_validator("aggregation_method", mode="before")
    @classmethod
    def _either_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _dimensions_are_arithmetic(self) -> Self:
        if isinstance(self.scoring_spec, DimensionSpec) and self.aggregation_method not in (
            None,
            AggregationMethod.ARITHMETIC_MEAN,
        ):
            raise ValueError(
                f"aggregation_method {self.aggregation_method} does not apply to a dimension spec, which is always"
                " ARITHMETIC_MEAN; leave it out or send a list of questions"
            )
        return self


def compose_llm_input(
    llm_input: str,
    *,
    system_prompt: str | None = None,
    history: Sequence[tuple[str, str]] = (),
    contexts: Sequence[str] = (),
    reference: str | None = None,
) -> str:
    """`llm_input` with what else belongs to the exchange, each part under a heading and in this order.

    The API has one input and one output, so every adapter writes a system prompt, earlier turns, contexts and a
    reference answer into the input by this one template: the same exchange gets the same score from every framework.
    An absent part leaves no heading; an input alone is returned unchanged.

    Args:
        llm_input: What the application was asked.
        system_prompt: Its standing instructions.
        history: Earlier turns as `(role, text)`, oldest first; roles as the framework names them, such as `user`.
        contexts: Retrieved passages, best first.
        reference: A known good answer.

    Example:
        >>> print(compose_llm_input("How long?", contexts=["Repairs take a week."]))
        ### Context
        [1] Repairs take a week.
        <BLANKLINE>
        ### Input
        How long?
    """
    before = [
        ("System prompt", system_prompt or ""),
        ("Conversation so far", "\n".join(f"{role}: {text}" for role, text in history)),
        ("Context", "\n\n".join(f"[{number}] {text}" for number, text in enumerate(contexts, start=1))),
    ]
    after = [("Reference answer", reference or "")]
    if not any(text for _, text in before + after):
        return llm_input
    sections = [*before, ("Input", llm_input), *after]
    return "\n\n".join(f"### {heading}\n{text}" for heading, text in sections if text)


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)


class Usage(_Response):
    """What a score cost, as far as the judge knows it; absent numbers are unknown, not zero."""

    calls: int | None = None
    """Requests made to a judge model."""
    input_tokens: int | None = None
    """Tokens read by the judge model."""
    output_tokens: int | None = None
    """Tokens written by the judge model."""
    cost_usd: FiniteFloat | None = None
    """US dollars, when the operator configured prices."""


class QuestionProvenance(_Response):
    """How one question got its score."""

    method: str
    """The reading that made it: logits, logprobs, structured, code, model, baseline, scripted or cache."""
    read: str | None = None
    """For `cache`: the reading that made the stored verdict."""
    model: str | None = None
    """For `model`: fingerprint of the registered model."""
    explanation: str | None = None
    """The judge's or the code's own words, where it gave any."""


class Provenance(_Response):
    """Who scored and how; nested as the scores are."""

    judge: str
    """Fingerprint of the judge: the same fingerprint gives the same scores."""
    questions: dict[str, QuestionProvenance | dict[str, QuestionProvenance]]
    """By question; for a dimension spec by dimension, then by sub-dimension."""


class DimensionScore(_Response):
    """Scores of one dimension."""

    subdimension_scores: dict[str, Score]
    """Raw score in [0, 1] by sub-dimension label."""
    total_score: Score | None = None
    """Weighted mean of the curved sub-scores, after the dimension's curve; None when none that counts was scored."""


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """One question's outcome, whatever the generation of the spec: a score, or the reason why there is none."""

    key: str
    """Label or text of the question; `dimension / sub-dimension` for a dimension spec."""
    score: float | None
    """Raw score in [0, 1]; None when unscored."""
    reason: str | None = None
    """Why it is unscored."""
    method: str | None = None
    """The reading that made the score; None when the service does not say."""
    explanation: str | None = None
    """The judge's or the code's own words, where it gave any."""
    read: str | None = None
    """For the method `cache`: the reading that made the kept score."""


class ScoreResult(_Response):
    """The scores of one exchange.

    Example:
        >>> result = ScoreResult(question_scores={"Polite": 0.9}, total_score=0.9)
        >>> [(q.key, q.score) for q in result.questions()]
        [('Polite', 0.9)]
    """

    question_scores: dict[str, Score] | None = None
    """Flat spec: raw score in [0, 1] by label, or by question text where there is no label."""
    dimension_scores: dict[str, DimensionScore] | None = None
    """Dimension spec: scores by dimension label."""
    total_score: Score
    """The total in [0, 1], rounded to 4 decimals."""
    unscored: dict[str, str | dict[str, str]] | None = None
    """Reasons of questions left out under the `partial` policy, nested as the scores are."""
    provenance: Provenance | None = None
    """Who scored and how; an engine says, the hosted service does not."""
    usage: Usage | None = None
    """Tokens and cost where the judge has them."""

    @model_validator(mode="after")
    def _has_scores(self) -> Self:
        if self.question_scores is None and self.dimension_scores is None:
            raise ValueError("neither question_scores nor dimension_scores is there")
        return self

    @property
    def judge(self) -> str | None:
        """Fingerprint of the judge, when the service says."""
        return self.provenance.judge if self.provenance else None

    def questions(self) -> Iterator[QuestionScore]:
        """Every question's outcome, scored ones first, in the order of the response."""
        made = self.provenance.questions if self.provenance else {}
        if self.question_scores is not None:
            yield from _outcomes(self.question_scores, self.unscored or {}, made, prefix="")
            return
        reasons = self.unscored or {}
        for label, dimension in (self.dimension_scores or {}).items():
            yield from _outcomes(
                dimension.subdimension_scores,
                _below(reasons, label),
                _below(made, label),
                prefix=f"{label} / ",
            )
        for label in reasons.keys() - (self.dimension_scores or {}).keys():
            yield from _outcomes({}, _below(reasons, label), {}, prefix=f"{label} / ")


def _below(nested: dict[str, Any], label: str) -> dict[str, Any]:
    inner = nested.get(label)
    return inner if isinstance(inner, dict) else {}


def _outcomes(
    scores: dict[str, float], reasons: dict[str, Any], made: dict[str, Any], *, prefix: str
) -> Iterator[QuestionScore]:
    for key, score in scores.items():
        how = made.get(key)
        if isinstance(how, QuestionProvenance):
            yield QuestionScore(prefix + key, score, method=how.method, explanation=how.explanation, read=how.read)
        else:
            yield QuestionScore(key=prefix + key, score=score)
    for key, reason in reasons.items():
        yield QuestionScore(key=prefix + key, score=None, reason=str(reason))
