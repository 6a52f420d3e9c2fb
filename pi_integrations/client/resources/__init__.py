"""The API's resources, method by method: one typed request built, one call, one typed result."""

from pi_integrations.client.resources.data import Data, GenerateInputResponsePairs, GenerateInputs
from pi_integrations.client.resources.scoring_system import ScoringSystem, SpecLike

__all__ = ["Data", "GenerateInputResponsePairs", "GenerateInputs", "ScoringSystem", "SpecLike"]
