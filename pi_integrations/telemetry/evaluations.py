"""Scores as OpenTelemetry events, by the semantic conventions for evaluations in generative AI."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pi_integrations._version import __version__
from pi_integrations.models import QuestionScore, ScoreResult

try:
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
except ImportError as error:
    raise ImportError(
        "OpenTelemetry events need opentelemetry-api; run: pip install 'pi-integrations[otel]'", name=error.name
    ) from error

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

__all__ = ["EvaluationEvents"]

_EVENT = "gen_ai.evaluation.result"


class EvaluationEvents:
    """Writes a `gen_ai.evaluation.result` event per question of a result, and one for its total.

    Args:
        total_name: Evaluation name of the total; a question's is its label or its text.
        threshold: Scores of at least this much are labelled `pass`, others `fail`; None writes no labels.
        with_explanations: Whether to write the judge's explanations, which may quote the exchange.
        provider: Receives the events; None for the provider that the application has configured, if any.
    """

    def __init__(
        self, *, total_name: str, threshold: float | None, with_explanations: bool, provider: LoggerProvider | None
    ) -> None:
        self._total_name = total_name
        self._threshold = threshold
        self._with_explanations = with_explanations
        self._logger = get_logger("pi_integrations", __version__, provider)

    def emit(
        self,
        result: ScoreResult,
        span: SpanContext | None,
        *,
        attributes: Mapping[str, Any],
        of_total: Mapping[str, Any],
    ) -> None:
        """Writes the events of `result`, as part of `span` where there is one.

        Args:
            result: The scores.
            span: Context of the span that made the answer.
            attributes: Further attributes of every event.
            of_total: Further attributes of the total's event.
        """
        for outcome in result.questions():
            self._write(span, {**self._question(outcome), **attributes})
        self._write(span, {**self._score(self._total_name, result.total_score), **attributes, **of_total})

    def _question(self, outcome: QuestionScore) -> dict[str, Any]:
        if outcome.score is None:
            known: dict[str, Any] = {"gen_ai.evaluation.name": outcome.key, "error.type": "unscored"}
        else:
            known = self._score(outcome.key, outcome.score)
        words = outcome.explanation or outcome.reason
        if self._with_explanations and words:
            known["gen_ai.evaluation.explanation"] = words
        return known

    def _score(self, name: str, score: float) -> dict[str, Any]:
        known = {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": score}
        if self._threshold is not None:
            known["gen_ai.evaluation.score.label"] = "pass" if score >= self._threshold else "fail"
        return known

    def _write(self, span: SpanContext | None, attributes: Mapping[str, Any]) -> None:
        now = time.time_ns()
        # An empty context: the current span of the thread that writes has nothing to do with the answer.
        record = LogRecord(
            timestamp=now,
            observed_timestamp=now,
            context=set_span_in_context(NonRecordingSpan(span), Context()) if span is not None else Context(),
            severity_number=SeverityNumber.INFO,
            attributes=attributes,
            event_name=_EVENT,
        )
        self._logger.emit(record)
