"""Feedback about one run: reads the exchange, has it scored, and writes the scores as feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.exchange import EXTRAS, Exchange, ExchangeReader
from pi_integrations.langchain.feedback import Feedback, feedback_entries, feedback_keys
from pi_integrations.langchain.scoring import Scoring

__all__ = ["Evaluation"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The part that evaluators of runs share.

    Raises:
        PiUsageError: when `feedback_key` is also a question's key.
    """

    scoring: Scoring
    reader: ExchangeReader
    feedback_key: str

    def __post_init__(self) -> None:
        feedback_keys(self.scoring, self.feedback_key)

    @property
    def keys(self) -> list[str]:
        """The keys of the feedback: every question's, and last the total's."""
        return feedback_keys(self.scoring, self.feedback_key)

    def evaluate(self, inputs: Any, outputs: Any, reference_outputs: Any = None, **extras: Any) -> list[Feedback]:
        """An entry per question, and last the total."""
        result = self.scoring.score(self._exchange(inputs, outputs, reference_outputs, extras))
        return feedback_entries(result, self.scoring, self.feedback_key)

    async def aevaluate(
        self, inputs: Any, outputs: Any, reference_outputs: Any = None, **extras: Any
    ) -> list[Feedback]:
        """`evaluate`, awaited."""
        result = await self.scoring.ascore(self._exchange(inputs, outputs, reference_outputs, extras))
        return feedback_entries(result, self.scoring, self.feedback_key)

    def _exchange(self, inputs: Any, outputs: Any, reference_outputs: Any, extras: dict[str, Any]) -> Exchange:
        unknown = [name for name in extras if name not in EXTRAS]
        if unknown:
            raise PiUsageError(
                f"{unknown[0]!r} is not part of an exchange; besides the outputs, pass {', '.join(EXTRAS)}"
            )
        return self.reader.read(inputs, outputs, reference_outputs, **extras)
