"""The questions of a spec of either generation, in order, as the table and the report show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pi_integrations.models import Dimension, DimensionSpec, Question, ScoringType, SubDimension

__all__ = ["OutlinedQuestion", "outline"]

_KINDS = {
    ScoringType.PI_SCORER: "model",
    ScoringType.PYTHON_CODE: "code",
    ScoringType.CUSTOM_MODEL_SCORER: "custom",
}


@dataclass(frozen=True, slots=True)
class OutlinedQuestion:
    """One question of a spec.

    Attributes:
        key: Name of its scores, as `ScoreResult.questions` gives it: `dimension / sub-dimension` for a dimension spec.
        text: The yes/no question.
        kind: Who answers: `model` (the judge), `code` or `custom` (a registered model).
        weight: As written.
        share: Its part of the total, in [0, 1], after the weights are normalised.
        knots: Of its calibration curve; empty for the identity.
        python_code: For `code`.
        custom_model_id: For `custom`.
    """

    key: str
    text: str
    kind: str
    weight: float
    share: float
    knots: tuple[float, ...] = ()
    python_code: str | None = None
    custom_model_id: str | None = None


def outline(spec: Sequence[Question] | DimensionSpec) -> list[OutlinedQuestion]:
    """The questions of a checked spec, in order; their shares sum to 1."""
    if not isinstance(spec, DimensionSpec):
        shares = _shares(spec)
        return [_outlined(q, q.key, q.question, share) for q, share in zip(spec, shares, strict=True)]
    return [
        _outlined(sub, f"{dimension.label} / {sub.label}", sub.description, whole * part)
        for dimension, whole in zip(spec.dimensions, _shares(spec.dimensions), strict=True)
        for sub, part in zip(dimension.sub_dimensions, _shares(dimension.sub_dimensions), strict=True)
    ]


def _shares(siblings: Sequence[Question | SubDimension] | Sequence[Dimension]) -> list[float]:
    largest = max(node.weight for node in siblings)
    # Dividing by the largest first keeps the sum finite for any finite weights.
    total = sum(node.weight / largest for node in siblings)
    return [node.weight / largest / total for node in siblings]


def _outlined(node: Question | SubDimension, key: str, text: str, share: float) -> OutlinedQuestion:
    is_code = node.scoring_type is ScoringType.PYTHON_CODE
    is_custom = node.scoring_type is ScoringType.CUSTOM_MODEL_SCORER
    return OutlinedQuestion(
        key=key,
        text=text,
        kind=_KINDS[node.scoring_type],
        weight=node.weight,
        share=share,
        knots=tuple(node.parameters or ()),
        python_code=node.python_code if is_code else None,
        custom_model_id=node.custom_model_id if is_custom else None,
    )
