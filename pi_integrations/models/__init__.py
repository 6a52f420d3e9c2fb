"""The wire contract as pydantic models, shared by the client and the engine."""

from pi_integrations.models.data import (
    ExplorationMode,
    GenerateInputsRequest,
    GeneratePairsRequest,
    GenerationFigures,
    InputResponsePair,
    SyntheticDataStatus,
    SyntheticInputsStatus,
)
from pi_integrations.models.exchanges import compose_llm_input
from pi_integrations.models.jobs import JobState, JobStatus
from pi_integrations.models.problems import Problem, describe, render
from pi_integrations.models.requests import AggregationMethod, ScoreRequest
from pi_integrations.models.scores import (
    DimensionScore,
    Provenance,
    QuestionProvenance,
    QuestionScore,
    ScoreResult,
    Usage,
)
from pi_integrations.models.specs import (
    Dimension,
    DimensionSpec,
    Question,
    ScoringSpec,
    ScoringType,
    SubDimension,
    parse_spec,
)

__all__ = [
    "AggregationMethod",
    "Dimension",
    "DimensionScore",
    "DimensionSpec",
    "ExplorationMode",
    "GenerateInputsRequest",
    "GeneratePairsRequest",
    "GenerationFigures",
    "InputResponsePair",
    "JobState",
    "JobStatus",
    "Problem",
    "Provenance",
    "Question",
    "QuestionProvenance",
    "QuestionScore",
    "ScoreRequest",
    "ScoreResult",
    "ScoringSpec",
    "ScoringType",
    "SubDimension",
    "SyntheticDataStatus",
    "SyntheticInputsStatus",
    "Usage",
    "compose_llm_input",
    "describe",
    "parse_spec",
    "render",
]
