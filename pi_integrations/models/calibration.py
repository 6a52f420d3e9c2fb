"""The calibration job's body and status: `/scoring_system/calibrate`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, HttpUrl, model_validator

from pi_integrations.models.jobs import JobStatus
from pi_integrations.models.scoring import AggregationMethod
from pi_integrations.models.specs import ScoringSpec

__all__ = [
    "CalibrateRequest",
    "CalibrationStatus",
    "CalibrationStrategy",
    "LabeledExample",
    "PreferenceExample",
]

# The deprecated form of a label: five levels of agreement.
_RATINGS = {"strongly disagree": 0.0, "disagree": 0.25, "neutral": 0.5, "agree": 0.75, "strongly agree": 1.0}


class CalibrationStrategy(StrEnum):
    """How long the fit goes on."""

    LITE = "LITE"
    FULL = "FULL"


class LabeledExample(BaseModel):
    """An exchange and what a person made of it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    llm_input: str
    """What the application was asked; may be empty."""
    llm_output: str
    """What it answered."""
    score: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    """The label, 0 (bad) to 1 (good); an example without one is not counted."""

    @model_validator(mode="before")
    @classmethod
    def _from_rating(cls, value: Any) -> Any:
        """Reads the deprecated `rating`, one of five words in any case, where there is no `score`."""
        if not isinstance(value, dict) or value.get("rating") is None or value.get("score") is not None:
            return value
        level = _RATINGS.get(" ".join(str(value["rating"]).lower().split()))
        if level is None:
            raise ValueError(
                f"rating is {value['rating']!r:.40}; give one of Strongly Disagree … Strongly Agree, or score"
            )
        return {**value, "score": level}


class PreferenceExample(BaseModel):
    """Two answers to one input, of which a person chose one."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    llm_input: str
    """What the application was asked; may be empty."""
    chosen: str
    """The answer that was preferred."""
    rejected: str
    """The other answer."""


class CalibrateRequest(BaseModel):
    """The body of `POST /scoring_system/calibrate`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    scoring_spec: ScoringSpec
    """The spec to calibrate, of either generation; the result is of the same."""
    examples: Annotated[list[LabeledExample], BeforeValidator(lambda value: [] if value is None else value)] = Field(
        default_factory=list
    )
    """Labelled exchanges."""
    preference_examples: Annotated[
        list[PreferenceExample], BeforeValidator(lambda value: [] if value is None else value)
    ] = Field(default_factory=list)
    """Compared answers; `examples` and this may not both be empty."""
    strategy: CalibrationStrategy = CalibrationStrategy.FULL
    """`FULL` fits until it converges, `LITE` for a few steps."""
    aggregation_method: AggregationMethod | None = None
    """The mean that a flat spec will be scored with; default geometric. An addition of this engine."""
    webhook_url: HttpUrl | None = None
    """Called when the job ends; only hosts that the engine's operator allowed."""

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        if not (self.examples or self.preference_examples):
            raise ValueError("examples and preference_examples are both empty; give labels, preferences, or both")
        return self


class CalibrationStatus(JobStatus):
    """A calibration job."""

    calibrated_scoring_spec: ScoringSpec | None = None
    """The result: the spec with fitted `parameters` and weights, or the given one where that could not be bettered."""
    calibrated: bool | None = None
    """Whether the result differs from the given spec; an addition of this engine."""
    report: dict[str, Any] | None = None
    """What it was computed on, figures with 95 % intervals, and a summary in words; an addition of this engine."""
