"""Scores as feedback: one entry a question and one for the total, in the shape of openevals and LangSmith."""

from __future__ import annotations

from typing import Any, TypedDict

from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.models import QuestionScore, ScoreResult

__all__ = ["Feedback", "feedback_entries", "feedback_keys"]


class Feedback(TypedDict):
    """One metric of one exchange."""

    key: str
    """Label or text of a question, `dimension / sub-dimension` for a dimension spec, or the total's key."""
    score: float | None
    """In [0, 1]; None when the question is unscored."""
    comment: str | None
    """The judge's explanation, or the reason why the question is unscored."""
    metadata: dict[str, Any]
    """The known ones of `judge`, `method` (the reading that made the score) and `weight`; for the total `judge`,
    `aggregation_method`, `dimension_scores`, `unscored` and `usage`."""


def feedback_keys(scoring: Scoring, total_key: str) -> list[str]:
    """The keys `feedback_entries` gives, in its order.

    Raises:
        PiUsageError: when the total's key is a question's too.
    """
    keys = list(scoring.weights)
    if total_key in keys:
        raise PiUsageError(f"feedback_key is {total_key!r}, which is also a question of the spec; choose another name")
    return [*keys, total_key]


def feedback_entries(result: ScoreResult, scoring: Scoring, total_key: str) -> list[Feedback]:
    """An entry per question, in the order of the spec, and last the total."""
    outcomes = {outcome.key: outcome for outcome in result.questions()}
    ordered = [key for key in scoring.weights if key in outcomes]
    ordered += [key for key in outcomes if key not in scoring.weights]
    entries = [_of_question(outcomes[key], result.judge, scoring.weights.get(key)) for key in ordered]
    return [*entries, _of_total(result, scoring, total_key)]


def _of_question(outcome: QuestionScore, judge: str | None, weight: float | None) -> Feedback:
    comment = outcome.explanation if outcome.score is not None else f"unscored: {outcome.reason}"
    metadata = _known(judge=judge, method=outcome.method, weight=weight)
    return Feedback(key=outcome.key, score=outcome.score, comment=comment, metadata=metadata)


def _of_total(result: ScoreResult, scoring: Scoring, key: str) -> Feedback:
    left_out = [outcome.key for outcome in result.questions() if outcome.score is None]
    dimensions = {label: dimension.total_score for label, dimension in (result.dimension_scores or {}).items()}
    metadata = _known(
        judge=result.judge,
        aggregation_method=scoring.aggregation_method and str(scoring.aggregation_method),
        dimension_scores=dimensions or None,
        unscored=left_out or None,
        usage=result.usage.model_dump(exclude_none=True) if result.usage else None,
    )
    comment = f"without the unscored questions: {', '.join(left_out)}" if left_out else None
    return Feedback(key=key, score=result.total_score, comment=comment, metadata=metadata)


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
