"""The synthetic-data jobs' bodies and statuses: `/data/generate_input_response_pairs` and `/data/generate`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pi_integrations.models.jobs import JobStatus
from pi_integrations.models.scoring import ScoreResult
from pi_integrations.models.specs import ScoringSpec
from pi_integrations.models.wire import MAX_GENERATED_ITEMS

__all__ = [
    "ExplorationMode",
    "GenerateInputsRequest",
    "GeneratePairsRequest",
    "GenerationFigures",
    "InputResponsePair",
    "SyntheticDataStatus",
    "SyntheticInputsStatus",
]


def _number(value: Any) -> Any:
    """Refuses strings and booleans, which pydantic would convert."""
    if isinstance(value, bool | str):
        raise ValueError(f"A number is needed (got {value!r:.40})")
    return value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank_text", "A text is needed; give one, or leave the seed out")
    return text


_Int = Annotated[int, BeforeValidator(_number)]
_Float = Annotated[float, BeforeValidator(_number)]
_Text = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]


class ExplorationMode(StrEnum):
    """How far generated items may stray from the seeds."""

    CONSERVATIVE = "CONSERVATIVE"
    BALANCED = "BALANCED"
    CREATIVE = "CREATIVE"
    ADVENTUROUS = "ADVENTUROUS"


class InputResponsePair(BaseModel):
    """An input and the response to it: a seed, or a generated pair."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    llm_input: str
    """What the application is asked."""
    llm_output: str
    """What it answers."""
    scores: ScoreResult | None = None
    """The pair's scores, when the job had a scoring spec; an addition of this engine."""


def _with_input(seed: InputResponsePair) -> InputResponsePair:
    try:
        _not_blank(seed.llm_input)
    except PydanticCustomError as error:
        fault = InitErrorDetails(type=error, loc=("llm_input",), input=seed.llm_input)
        raise ValidationError.from_exception_data("seed", [fault]) from None
    return seed


_Seed = Annotated[InputResponsePair, AfterValidator(_with_input)]


class _GenerateRequest(BaseModel):
    """The fields that both kinds of generation share."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    exploration_mode: ExplorationMode = ExplorationMode.BALANCED
    """How far items may stray from the seeds."""
    run_parallel_batches: bool = False
    """Whether several batches are generated at a time."""
    max_cost_usd: _Float | None = Field(default=None, gt=0)
    """Stops the job cleanly before its model calls cost more, in US dollars; needs an engine that knows prices."""
    webhook_url: HttpUrl | None = None
    """Notified when the job ends; only hosts that the engine's operator allowed."""


class GeneratePairsRequest(_GenerateRequest):
    """The body of `POST /data/generate_input_response_pairs`."""

    num_pairs_to_generate: _Int = Field(ge=1, le=MAX_GENERATED_ITEMS)
    """How many new pairs to make, 1 to 100,000."""
    seeds: list[_Seed]
    """Pairs to start from; may be empty, and then they are invented from the description and the system prompt. Each
    has an input; where only inputs are known, outputs may be empty."""
    application_description: str | None = None
    """What the application does."""
    system_prompt: str | None = None
    """The application's own system prompt; when given, it answers the generated inputs."""
    batch_size: _Int = Field(default=5, ge=1, le=10)
    """Pairs requested from the model in one call, 1 to 10."""
    num_shots: _Int = Field(default=5, ge=0, le=50)
    """Example pairs shown to the model in one call, 0 to 50."""
    scoring_spec: ScoringSpec | None = None
    """Judges each pair, in place of the generator's own good-or-bad call."""
    min_score: _Float | None = Field(default=None, ge=0, le=1)
    """Lowest total score a pair may have; needs `scoring_spec`. Default .5 when there is a spec."""

    @model_validator(mode="after")
    def _min_score_has_a_spec(self) -> Self:
        if self.min_score is not None and self.scoring_spec is None:
            raise ValueError("min_score needs a scoring_spec to score with; give one, or leave min_score out")
        return self


class GenerateInputsRequest(_GenerateRequest):
    """The body of `POST /data/generate`."""

    num_inputs_to_generate: _Int = Field(ge=1, le=MAX_GENERATED_ITEMS)
    """How many new inputs to make, 1 to 100,000."""
    seeds: list[_Text]
    """Inputs to start from; may be empty, and then they are invented from the description."""
    application_description: str | None = None
    """What the application does."""
    batch_size: _Int = Field(default=10, ge=1, le=125)
    """Inputs requested from the model in one call, 1 to 125."""
    num_shots: _Int = Field(default=10, ge=0, le=50)
    """Example inputs shown to the model in one call, 0 to 50."""


class GenerationFigures(BaseModel):
    """Progress and figures of a generation: an addition of this engine to the status."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    accepted: int = 0
    """Items kept."""
    bad: int = 0
    """Items the critic, or the scoring spec, turned down."""
    similar: int = 0
    """Items turned down as near-duplicates."""
    malformed: int = 0
    """Items the model wrote in no readable form."""
    batches: int = 0
    """Calls for a batch of items that were answered and processed."""
    temperature: float | None = None
    """Sampling temperature of the last batch."""
    distinct_2: float | None = None
    """Distinct word pairs among all word pairs of the items kept, 0 to 1; higher is more diverse. Over a sample: see
    `computed_on`."""
    mean_pairwise_similarity: float | None = None
    """Mean Jaccard similarity of pairs of items, 0 to 1; lower is more diverse. Over a sample: see `computed_on`."""
    computed_on: dict[str, Any] | None = None
    """How many items and pairs the diversity figures were computed on."""
    input_tokens: int | None = None
    """Tokens the model read; None when its provider does not say."""
    output_tokens: int | None = None
    """Tokens the model wrote; None when its provider does not say."""
    cost_usd: float | None = None
    """What the calls cost in US dollars; None without prices."""


class _GenerationStatus(JobStatus):
    """The status fields that both kinds of generation share."""

    wanted: int | None = None
    """How many items were requested; an addition of this engine."""
    figures: GenerationFigures | None = None
    """Its figures so far; an addition of this engine."""
    stopped: str | None = None
    """Why it is DONE with fewer items than requested, such as `max_cost_usd`; an addition of this engine."""


class SyntheticDataStatus(_GenerationStatus):
    """A job that generates pairs."""

    data: list[InputResponsePair] | None = None
    """The pairs so far, in the order they were made; None in a list of jobs."""


class SyntheticInputsStatus(_GenerationStatus):
    """A job that generates inputs."""

    data: list[str] | None = None
    """The inputs so far, in the order they were made; None in a list of jobs."""
