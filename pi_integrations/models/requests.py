"""What is sent to `POST /scoring_system/score`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from pi_integrations.models.specs import DimensionSpec, ScoringSpec

__all__ = ["AggregationMethod", "ScoreRequest"]


class AggregationMethod(StrEnum):
    """The weighted mean that makes the total of a flat spec."""

    ARITHMETIC_MEAN = "ARITHMETIC_MEAN"
    GEOMETRIC_MEAN = "GEOMETRIC_MEAN"
    HARMONIC_MEAN = "HARMONIC_MEAN"


class ScoreRequest(BaseModel):
    """The body of `POST /scoring_system/score`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    llm_input: str
    """What the application was asked; may be empty."""
    llm_output: str
    """What it answered: the text to score."""
    scoring_spec: ScoringSpec
    """The rubric; its generation decides the shape of the response."""
    aggregation_method: AggregationMethod | None = None
    """Mean of a flat spec, in either case; default geometric. A dimension spec is always arithmetic."""
    kwargs: dict[str, Any] | None = None
    """Handed to code questions."""

    @field_validator("aggregation_method", mode="before")
    @classmethod
    def _either_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _dimensions_are_arithmetic(self) -> Self:
        if isinstance(self.scoring_spec, DimensionSpec) and self.aggregation_method not in (
            None,
            AggregationMethod.ARITHMETIC_MEAN,
        ):
            raise ValueError(
                f"aggregation_method {self.aggregation_method} does not apply to a dimension spec, which is always"
                " ARITHMETIC_MEAN; leave it out or send a list of questions"
            )
        return self
