"""Both generations of the scoring spec.

A flat spec is a list of yes/no questions. A dimension spec groups its questions ("sub-dimensions") in dimensions. Both
are live contracts. Unknown fields are carried through, except three retired ones that would change a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from pi_integrations.errors import PiUsageError
from pi_integrations.models.problems import describe, render

__all__ = [
    "Dimension",
    "DimensionSpec",
    "OutlinedQuestion",
    "Question",
    "ScoringSpec",
    "ScoringType",
    "SpecLike",
    "SubDimension",
    "outline",
    "parse_spec",
]


class ScoringType(StrEnum):
    """How a question is answered: by the judge, by Python code in a sandbox, or by a registered model."""

    PI_SCORER = "PI_SCORER"
    PYTHON_CODE = "PYTHON_CODE"
    CUSTOM_MODEL_SCORER = "CUSTOM_MODEL_SCORER"


def _knots(values: list[float]) -> list[float]:
    for index, value in enumerate(values):
        if not 0 <= value <= 1:
            raise ValueError(f"knot {index} is {value}; every knot lies in [0, 1]")
        if index and value < values[index - 1]:
            raise ValueError(f"knot {index} is {value}, below the one before it ({values[index - 1]}); sort the knots")
    return values


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; write a yes/no question or a name")
    return text


Weight = Annotated[
    FiniteFloat,
    Field(ge=0),
    BeforeValidator(lambda value: 1.0 if value is None else value),
]
Knots = Annotated[list[FiniteFloat], AfterValidator(_knots)]
Text = Annotated[str, AfterValidator(_not_blank)]
# Fields of earlier generations whose non-default value would change what a score means, with that default.
_RETIRED: dict[str, tuple[Any, ...]] = {
    "is_lower_score_desirable": (None, False),
    "remap_spec": (None,),
    "action_dimension": (None,),
}


class _SpecNode(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    parameters: Knots | None = None
    """Knots of the calibration curve: non-decreasing, in [0, 1]; larger is stricter; null or [] is the identity."""
    weight: Weight = 1.0
    """Weight relative to its siblings; any finite number ≥ 0, normalised to sum to 1; 0 is reported but not counted."""

    @model_validator(mode="after")
    def _no_retired_fields(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if name in _RETIRED and value not in _RETIRED[name]:
                raise ValueError(f"{name} is retired and would change the score; remove it and rephrase the question")
        return self


class _Scored(_SpecNode):
    scoring_type: Annotated[
        ScoringType, BeforeValidator(lambda value: ScoringType.PI_SCORER if value is None else value)
    ] = ScoringType.PI_SCORER
    """Who answers: `PI_SCORER` (the judge, the default), `PYTHON_CODE` or `CUSTOM_MODEL_SCORER`."""
    python_code: str | None = None
    """Source that defines `score`; needed by `PYTHON_CODE`, carried through otherwise."""
    custom_model_id: str | None = None
    """Id of a model registered with the engine; needed by `CUSTOM_MODEL_SCORER`, carried through otherwise."""
    tag: str | None = None
    """Group the question belongs to; carried through."""

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        if self.scoring_type is ScoringType.PYTHON_CODE and not (self.python_code or "").strip():
            raise ValueError("scoring_type PYTHON_CODE needs python_code: source that defines score(...)")
        if self.scoring_type is ScoringType.CUSTOM_MODEL_SCORER and not (self.custom_model_id or "").strip():
            raise ValueError("scoring_type CUSTOM_MODEL_SCORER needs custom_model_id: a model the engine registered")
        return self


class Question(_Scored):
    """One yes/no question of a flat spec.

    Example:
        >>> Question(question="Is the answer polite?", label="Polite", weight=2).key
        'Polite'
    """

    question: Text
    """The yes/no question, asked of one exchange."""
    label: str | None = None
    """Short name; the score is keyed by it when present, else by the question text."""

    @property
    def key(self) -> str:
        """Name of this question's score in a response."""
        return self.label if self.label and self.label.strip() else self.question


class SubDimension(_Scored):
    """One yes/no question of a dimension spec; its `description` is the question."""

    label: Text
    """Key of its score within the dimension."""
    description: Text
    """The yes/no question."""


class Dimension(_SpecNode):
    """A named group of questions with a curve and a weight of its own."""

    label: Text
    """Key of its scores in the response."""
    description: str = ""
    """What the group is about; carried through."""
    sub_dimensions: list[SubDimension]
    """At least one question; their weights are siblings."""

    @field_validator("sub_dimensions")
    @classmethod
    def _siblings(cls, nodes: list[SubDimension]) -> list[SubDimension]:
        return _checked_siblings(nodes, [node.label for node in nodes], "sub-dimension")


class DimensionSpec(BaseModel):
    """A scoring spec of the dimension generation.

    Example:
        >>> spec = DimensionSpec(dimensions=[{"label": "Tone", "sub_dimensions": [
        ...     {"label": "Polite", "description": "Is the answer polite?"}]}])
        >>> spec.dimensions[0].weight
        1.0
    """

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    name: str = ""
    """Name of the spec; carried through."""
    description: str = ""
    """The application it scores; carried through."""
    dimensions: list[Dimension]
    """At least one dimension; their weights are siblings."""

    @field_validator("dimensions")
    @classmethod
    def _siblings(cls, nodes: list[Dimension]) -> list[Dimension]:
        return _checked_siblings(nodes, [node.label for node in nodes], "dimension")


_Node = TypeVar("_Node", bound=_SpecNode)


def _checked_siblings(nodes: list[_Node], keys: list[str], noun: str) -> list[_Node]:
    if not nodes:
        raise ValueError(f"is empty; give at least one {noun}")
    repeated = [key for key, count in Counter(keys).items() if count > 1]
    if repeated:
        raise ValueError(f"{noun} {repeated[0]!r} appears twice; scores are keyed by it, so give each its own label")
    if not any(node.weight for node in nodes):
        raise ValueError(f"every {noun} has weight 0, so there is no total; give at least one a positive weight")
    return nodes


def _checked_questions(questions: list[Question]) -> list[Question]:
    return _checked_siblings(questions, [question.key for question in questions], "question")


def _generation(value: Any) -> str:
    is_dimensions = isinstance(value, DimensionSpec | dict)
    return "#dimensions" if is_dimensions else "#questions"


ScoringSpec = Annotated[
    Annotated[list[Question], AfterValidator(_checked_questions), Tag("#questions")]
    | Annotated[DimensionSpec, Tag("#dimensions")],
    Discriminator(_generation),
]
"""Either generation: a list of `Question`, or a `DimensionSpec`."""

_spec_adapter: TypeAdapter[list[Question] | DimensionSpec] = TypeAdapter(ScoringSpec)


SpecLike = Sequence[Question | dict[str, Any]] | DimensionSpec | dict[str, Any]
"""A scoring spec as callers write it; `parse_spec` checks it."""


def parse_spec(spec: SpecLike) -> list[Question] | DimensionSpec:
    """`spec` checked and typed; both generations.

    Raises:
        PiUsageError: naming each field at fault.
    """
    try:
        return _spec_adapter.validate_python(spec)
    except ValidationError as error:
        raise PiUsageError(render(describe(error, prefix=["scoring_spec"]))) from None


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
