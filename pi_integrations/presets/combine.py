"""Several presets as one spec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pi_integrations.errors import PiUsageError
from pi_integrations.models import DimensionSpec, Question, parse_spec
from pi_integrations.presets.specs import Preset

__all__ = ["combine"]


def combine(*presets: Sequence[Question | dict[str, Any]], weights: Sequence[float] | None = None) -> Preset:
    """One spec with the questions of all `presets`, in order, in which each preset counts by its weight.

    A preset's weight is shared among its questions in the ratio of their own weights: a preset of six questions does
    not count more than one of three. Lists of your own questions can be combined too.

    Args:
        presets: Flat specs.
        weights: One number ≥ 0 per preset, relative to each other; default: all equal. At weight 0 a preset is scored
            and reported, but does not count.

    Raises:
        PiUsageError: when two questions have the same name, or `weights` or a spec is not valid.

    Example:
        >>> tone = [{"question": "Is it warm?", "label": "Warm"}, {"question": "Is it calm?", "label": "Calm"}]
        >>> french = [{"question": "Is it in French?", "label": "French"}]
        >>> [(question.label, question.weight) for question in combine(tone, french, weights=(1, 3))]
        [('Warm', 0.5), ('Calm', 0.5), ('French', 3.0)]
    """
    parts = [_questions(position, spec) for position, spec in enumerate(presets)]
    shares = _shares(weights, len(parts))
    _refuse_repeated(parts)
    spec = [question for part, share in zip(parts, shares, strict=True) for question in _shared(part, share)]
    return tuple(_questions(None, spec))


def _questions(position: int | None, spec: Sequence[Question | dict[str, Any]]) -> list[Question]:
    parsed = parse_spec(spec)
    if isinstance(parsed, DimensionSpec):
        raise PiUsageError(f"presets[{position}] is a dimension spec; combine takes lists of questions")
    return parsed


def _shares(weights: Sequence[float] | None, count: int) -> Sequence[float]:
    shares = (1.0,) * count if weights is None else tuple(weights)
    if len(shares) != count:
        raise PiUsageError(f"weights has {len(shares)} entries for {count} presets; give one for each")
    for position, share in enumerate(shares):
        if not (math.isfinite(share) and share >= 0):
            raise PiUsageError(f"weights[{position}] is {share}; a weight is a finite number ≥ 0")
    return shares


def _refuse_repeated(parts: list[list[Question]]) -> None:
    seen: dict[str, int] = {}
    for position, part in enumerate(parts):
        for question in part:
            if question.key in seen:
                raise PiUsageError(
                    f"question {question.key!r} is in presets[{seen[question.key]}] and in presets[{position}]; scores"
                    " are keyed by it, so leave one out or give it another label"
                )
            seen[question.key] = position


def _shared(part: list[Question], share: float) -> list[Question]:
    total = math.fsum(question.weight for question in part)
    return [question.model_copy(update={"weight": share * (question.weight / total)}) for question in part]
