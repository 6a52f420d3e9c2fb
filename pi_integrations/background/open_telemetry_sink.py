"""Scores as OpenTelemetry events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pi_integrations.background.sinks import BackgroundScore
from pi_integrations.errors import PiUsageError

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

__all__ = ["OpenTelemetrySink"]


class OpenTelemetrySink:
    """Writes a `gen_ai.evaluation.result` event per question and one for the total.

    An event belongs to the span that was current at `submit`, and carries `gen_ai.response.id` where the metadata has
    `response_id`. It has the evaluation's name, value and label, `pi.judge`, and `pi.name`, `pi.tags` and `pi.run_id`
    where they are known. A question without a score has `error.type` "unscored" in place of a value. Without a
    configured logger provider nothing is written.

    Args:
        threshold: Scores of at least this much, in [0, 1], are labelled `pass`, others `fail`; default 0.5. None writes
            no labels.
        capture_content: Whether events may hold text of the exchange: input and output on the total's event, and the
            judge's explanations, which may quote them, on the questions'. Default False.
        total_name: Evaluation name of the total; default `pi_score`.
        logger_provider: Where the events go; default the provider that the application has configured.

    Raises:
        ImportError: when OpenTelemetry's API is not installed.
        PiUsageError: when `threshold` is out of range.

    Example:
        ```python
        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer, OpenTelemetrySink

        with embedded() as client:
            rubric = [{"question": "Does the answer say where the order is?"}]
            with BackgroundScorer(rubric, client=client, sink=OpenTelemetrySink()) as scorer:
                scorer.submit(llm_input="Where is my order?", llm_output="It left our warehouse this morning.")
        ```
    """

    def __init__(
        self,
        *,
        threshold: float | None = 0.5,
        capture_content: bool = False,
        total_name: str = "pi_score",
        logger_provider: LoggerProvider | None = None,
    ) -> None:
        # Here, so that applications without OpenTelemetry do not need it.
        from pi_integrations.telemetry.evaluations import EvaluationEvents

        if threshold is not None and not 0 <= threshold <= 1:
            raise PiUsageError(f"threshold is {threshold}; it is a score in [0, 1], or None for no labels")
        self._capture_content = capture_content
        self._events = EvaluationEvents(
            total_name=total_name, threshold=threshold, with_explanations=capture_content, provider=logger_provider
        )

    def write(self, score: BackgroundScore) -> None:
        """Writes the events of `score`."""
        content = _content(score) if self._capture_content else {}
        self._events.emit(score.result, score.span, attributes=_origin(score), of_total=content)


def _origin(score: BackgroundScore) -> dict[str, Any]:
    known = {
        "gen_ai.response.id": score.metadata.get("response_id"),
        "pi.run_id": score.metadata.get("run_id"),
        "pi.name": score.name,
        "pi.judge": score.result.judge,
    }
    origin: dict[str, Any] = {name: str(value) for name, value in known.items() if value is not None}
    return {**origin, "pi.tags": list(score.tags)} if score.tags else origin


def _content(score: BackgroundScore) -> dict[str, Any]:
    return {
        "gen_ai.input.messages": [_message("user", score.llm_input)],
        # The conventions require a finish reason of every output message.
        "gen_ai.output.messages": [{**_message("assistant", score.llm_output), "finish_reason": "stop"}],
    }


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
