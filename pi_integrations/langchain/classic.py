"""What the classic evaluators share: their options, and scores as `score`, `value` and `reasoning`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pi_integrations.client import AsyncPiClient, PiClient
from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.exchange import EXTRAS, Exchange, ExchangeReader
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.models import AggregationMethod, QuestionScore, ScoreResult, SpecLike
from pi_integrations.models.wire import UnscoredPolicy

__all__ = ["ClassicEvaluator", "pair_result", "read_prediction", "string_result"]

_reader = ExchangeReader()


class ClassicEvaluator:
    """Mixin of the classic evaluators: an input is required, a reference is used when given."""

    def __init__(
        self,
        scoring_spec: SpecLike,
        *,
        client: AsyncPiClient | PiClient | None = None,
        aggregation_method: AggregationMethod | str | None = None,
        unscored: UnscoredPolicy | None = None,
        evaluation_name: str = "pi_score",
    ) -> None:
        self._scoring = Scoring(scoring_spec, client=client, aggregation_method=aggregation_method, unscored=unscored)
        self._evaluation_name = evaluation_name

    @property
    def evaluation_name(self) -> str:
        """What the evaluation is called in results."""
        return self._evaluation_name

    @property
    def requires_input(self) -> bool:
        """True."""
        return True

    @property
    def requires_reference(self) -> bool:
        """False."""
        return False

    def _check_evaluation_args(self, reference: str | None = None, input_: str | None = None) -> None:
        # LangChain's own check warns that a reference which is not required will be ignored; here it is not ignored.
        if input_ is None:
            raise PiUsageError(f"{type(self).__name__} requires an input; pass input=, which may be the empty string")


def read_prediction(prediction: Any, reference: Any, input_: Any, kwargs: Mapping[str, Any]) -> Exchange:
    """The exchange; of `kwargs` what belongs to it, and not callbacks, tags and the like."""
    extras = {name: value for name, value in kwargs.items() if name in EXTRAS}
    return _reader.read(input_, prediction, reference, **extras)


def string_result(result: ScoreResult) -> dict[str, Any]:
    """`score`, `value` (None), `reasoning` and `question_scores`."""
    return {
        "score": result.total_score,
        "value": None,
        "reasoning": _reasoning(result),
        "question_scores": _question_scores(result),
    }


def pair_result(first: ScoreResult, second: ScoreResult) -> dict[str, Any]:
    """Which total is higher: `score` 1, 0 or .5, `value` "A", "B" or None, and the scores of both."""
    score, value = 0.5, None
    if first.total_score != second.total_score:
        score, value = (1, "A") if first.total_score > second.total_score else (0, "B")
    return {
        "score": score,
        "value": value,
        "reasoning": f"A: {_reasoning(first)}\n\nB: {_reasoning(second)}",
        "total_scores": {"A": first.total_score, "B": second.total_score},
        "question_scores": {"A": _question_scores(first), "B": _question_scores(second)},
    }


def _question_scores(result: ScoreResult) -> dict[str, float | None]:
    return {outcome.key: outcome.score for outcome in result.questions()}


def _reasoning(result: ScoreResult) -> str:
    return "\n".join([f"total {result.total_score:g}", *(_line(outcome) for outcome in result.questions())])


def _line(outcome: QuestionScore) -> str:
    if outcome.score is None:
        return f"{outcome.key}: unscored, {outcome.reason}"
    said = f": {outcome.explanation}" if outcome.explanation else ""
    return f"{outcome.key}: {outcome.score:g}{said}"
