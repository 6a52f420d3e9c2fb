"""What the judge answers: verdicts from the model's scores, and from the questions that it could not read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pi_integrations.engine.judges.protocol import Verdict
from pi_integrations.models import Usage

if TYPE_CHECKING:
    from pi_integrations.engine.judges.local.reader import Prepared

__all__ = ["Scores", "verdicts_of"]

# P(yes) of each suffix of a prompt, or why the model gave none.
Scores = list[float] | str


def verdicts_of(prepared: Prepared, scores: Scores) -> list[Verdict]:
    """One verdict per question, in their order; the first carries what the exchange cost."""
    verdicts = [_verdict(place, scores) for place in prepared.places]
    if prepared.prompt is None or isinstance(scores, str):
        return verdicts
    usage = Usage(calls=1, input_tokens=prepared.prompt.tokens, output_tokens=0)
    first = verdicts[0]
    verdicts[0] = Verdict(first.score, first.reason, method="logits", usage=usage)
    return verdicts


def _verdict(place: int | str, scores: Scores) -> Verdict:
    if isinstance(place, str):
        return Verdict.unscored(place, method="logits")
    if isinstance(scores, str):
        return Verdict.unscored(scores, method="logits", retryable=True)
    if not math.isfinite(scores[place]):
        reason = "The model gave no finite logits: try dtype='float32', or check the weights."
        return Verdict.unscored(reason, method="logits")
    return Verdict(scores[place], method="logits")
