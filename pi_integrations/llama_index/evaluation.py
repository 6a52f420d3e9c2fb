"""The result of `PiEvaluator`: LlamaIndex's `EvaluationResult` with the score of every question."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.evaluation import EvaluationResult
from pydantic import computed_field

from pi_integrations.models import QuestionScore, ScoreResult

__all__ = ["PiEvaluationResult", "evaluation_of"]


class PiEvaluationResult(EvaluationResult):
    """An `EvaluationResult` whose `score` is the total, together with the score of every question.

    `score` lies in [0, 1]; `passing` says whether it reaches the evaluator's threshold; `feedback` lists the questions,
    lowest scores first. Without scores, `invalid_result` is True and `invalid_reason` says why.

    Example:
        >>> from pi_integrations import ScoreResult
        >>> scores = ScoreResult(question_scores={"Polite": 0.9}, total_score=0.9)
        >>> PiEvaluationResult(score=0.9, passing=True, scores=scores).question_scores
        {'Polite': 0.9}
    """

    scores: ScoreResult | None = None
    """The whole answer of the scorer: provenance, unscored questions and usage included."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def question_scores(self) -> dict[str, float]:
        """Raw score in [0, 1] by question; `dimension / sub-dimension` for a dimension spec; unscored ones left out."""
        return {question.key: question.score for question in self._questions() if question.score is not None}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unscored(self) -> dict[str, str]:
        """Why a question has no score, by question."""
        return {question.key: question.reason or "" for question in self._questions() if question.score is None}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def judge(self) -> str | None:
        """Fingerprint of the judge, when the service says."""
        return self.scores.judge if self.scores else None

    def _questions(self) -> list[QuestionScore]:
        return list(self.scores.questions()) if self.scores else []


def evaluation_of(
    scores: ScoreResult, threshold: float, *, query: str | None, response: str | None, contexts: Sequence[str] | None
) -> PiEvaluationResult:
    """`scores` as LlamaIndex's result."""
    return PiEvaluationResult(
        query=query,
        response=response,
        contexts=contexts,
        score=scores.total_score,
        passing=scores.total_score >= threshold,
        feedback=_feedback(scores, threshold),
        scores=scores,
    )


def _feedback(scores: ScoreResult, threshold: float) -> str:
    relation = "reaches" if scores.total_score >= threshold else "is below"
    questions = sorted(scores.questions(), key=lambda question: (question.score is None, question.score or 0.0))
    lines = [f"Total {scores.total_score:.2f} {relation} the threshold {threshold:.2f}.", *map(_line, questions)]
    return "\n".join(lines)


def _line(question: QuestionScore) -> str:
    if question.score is None:
        return f"- unscored  {question.key} ({question.reason})"
    return f"- {question.score:.2f}  {question.key}" + (f" ({question.explanation})" if question.explanation else "")
