"""The internal tree that both generations of the scoring spec become.

A rubric is a list of groups of questions. A flat spec is one group with no label, an identity curve and the mean the
request chose; a dimension spec is a group per dimension, always arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from pi_integrations.models import AggregationMethod, DimensionSpec, Question, ScoringType, SubDimension

__all__ = ["Group", "Leaf", "Rubric", "compile_rubric"]

Knots = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One question of any scoring type."""

    key: str
    text: str
    scoring_type: ScoringType
    weight: float
    knots: Knots
    python_code: str | None
    custom_model_id: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Sibling questions, how they combine, and the curve of their mean. `label` is None for a flat spec."""

    label: str | None
    leaves: tuple[Leaf, ...]
    weight: float
    knots: Knots
    method: AggregationMethod


@dataclass(frozen=True, slots=True)
class Rubric:
    """A whole spec. `flat` decides the shape of the response."""

    groups: tuple[Group, ...]
    flat: bool

    @property
    def leaves(self) -> list[Leaf]:
        """All questions, in order."""
        return [leaf for group in self.groups for leaf in group.leaves]


def compile_rubric(spec: list[Question] | DimensionSpec, method: AggregationMethod | None) -> Rubric:
    """The tree of a checked spec; `method` is the request's, for a flat spec (default: geometric)."""
    if isinstance(spec, DimensionSpec):
        groups = tuple(
            Group(
                label=dimension.label,
                leaves=tuple(_leaf(sub.label, sub.description, sub) for sub in dimension.sub_dimensions),
                weight=dimension.weight,
                knots=tuple(dimension.parameters or ()),
                method=AggregationMethod.ARITHMETIC_MEAN,
            )
            for dimension in spec.dimensions
        )
        return Rubric(groups=groups, flat=False)
    group = Group(
        label=None,
        leaves=tuple(_leaf(question.key, question.question, question) for question in spec),
        weight=1.0,
        knots=(),
        method=method or AggregationMethod.GEOMETRIC_MEAN,
    )
    return Rubric(groups=(group,), flat=True)


def _leaf(key: str, text: str, node: Question | SubDimension) -> Leaf:
    return Leaf(
        key=key,
        text=text,
        scoring_type=node.scoring_type,
        weight=node.weight,
        knots=tuple(node.parameters or ()),
        python_code=node.python_code,
        custom_model_id=node.custom_model_id,
    )
