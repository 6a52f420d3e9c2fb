"""Scores of a draft against a threshold, and what to tell the model that wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from langchain_core.messages import HumanMessage

from pi_integrations.langchain.feedback_messages import FEEDBACK_MARK
from pi_integrations.langchain.middleware.state import PiScoreReport
from pi_integrations.models import DimensionSpec, Question, ScoreResult, outline

__all__ = [
    "Feedback",
    "better",
    "counted_questions",
    "default_feedback",
    "failing_questions",
    "feedback_message",
    "report_of",
]

Feedback = Callable[[Sequence[str]], str]
"""From the questions that scored low to what the model is told."""


def report_of(
    result: ScoreResult | Exception, *, threshold: float, drafts: int, message_id: str | None
) -> PiScoreReport:
    """What lands in the state; of a failure, that there is no score and why."""
    if isinstance(result, Exception):
        total, scores, error = None, {}, f"{type(result).__name__}: {result}"
    else:
        total, scores, error = result.total_score, {each.key: each.score for each in result.questions()}, None
    return PiScoreReport(
        total_score=total,
        question_scores=scores,
        passed=total is not None and total >= threshold,
        drafts=drafts,
        error=error,
        message_id=message_id,
        retry_error=None,
    )


def better(first: PiScoreReport | None, second: PiScoreReport) -> PiScoreReport:
    """The report with the higher total, the first of equals; one without a score is below every other."""
    totals = [-1.0 if each is None or each["total_score"] is None else each["total_score"] for each in (first, second)]
    return first if first is not None and totals[0] >= totals[1] else second


def failing_questions(report: PiScoreReport, threshold: float, questions: Mapping[str, str]) -> list[str]:
    """Texts of the questions below the threshold; where a curve puts only the total there, of the lowest one."""
    known = {key: score for key, score in report["question_scores"].items() if score is not None and key in questions}
    low = [key for key, score in known.items() if score < threshold] or sorted(known, key=known.__getitem__)[:1]
    return [questions[key] for key in low]


def counted_questions(spec: list[Question] | DimensionSpec) -> dict[str, str]:
    """The text of each question that has a weight, by the key of its score."""
    return {question.key: question.text for question in outline(spec) if question.share}


def feedback_message(feedback: Feedback, failing: Sequence[str], name: str) -> HumanMessage:
    """The note to the model, marked so that nobody takes it for the user's words."""
    return HumanMessage(feedback(failing), additional_kwargs={FEEDBACK_MARK: name})


def default_feedback(failing: Sequence[str]) -> str:
    """What the model is told unless the middleware is given something else to say."""
    questions = "\n".join(f"- {question}" for question in failing)
    return (
        "Your last answer was checked before it went out, and fell short on the following. Each should be answered"
        f" with yes:\n{questions}\nWrite the whole answer again so that it does. Give only the answer, and do not"
        " mention this check."
    )
