"""Settings refused where they are given, not when the first score fails."""

from __future__ import annotations

from pydantic import ValidationError

from pi_integrations.client.resources import SpecLike
from pi_integrations.errors import PiUsageError
from pi_integrations.models import AggregationMethod, ScoreRequest, describe, parse_spec, render

__all__ = ["check_settings", "score_template"]


def score_template(scoring_spec: SpecLike, aggregation_method: AggregationMethod | str | None) -> ScoreRequest:
    """A request without its exchange, checked once, to be completed with `model_copy`.

    Raises:
        PiUsageError: naming each field at fault.
    """
    spec = parse_spec(scoring_spec)
    values = {"scoring_spec": spec, "aggregation_method": aggregation_method}
    try:
        return ScoreRequest.model_validate({"llm_input": "", "llm_output": "", **values})
    except ValidationError as error:
        raise PiUsageError(render(describe(error))) from None


def check_settings(sample_rate: float, max_queue: int, max_concurrency: int, exit_timeout: float) -> None:
    """Raises `PiUsageError` for a setting of `BackgroundScorer` that is out of range."""
    if not 0 <= sample_rate <= 1:
        raise PiUsageError(f"sample_rate is {sample_rate}; it is a share in [0, 1]")
    if max_queue < 1 or max_concurrency < 1:
        raise PiUsageError(f"max_queue is {max_queue} and max_concurrency {max_concurrency}; each must be at least 1")
    if not 0 <= exit_timeout < float("inf"):
        raise PiUsageError(f"exit_timeout is {exit_timeout}; give seconds ≥ 0")
