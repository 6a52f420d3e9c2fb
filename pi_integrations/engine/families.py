"""The kinds of jobs an engine has, from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pi_integrations.engine.jobs.family import FamilyWork, JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.models.families import FAMILIES, GENERATE_INPUTS, GENERATE_PAIRS

__all__ = ["JOB_PATHS", "job_families"]

JOB_PATHS = tuple(family.path for family in FAMILIES)
_NO_GENERATOR = (
    "this engine has no generator to make data with; start it with --generator chat:PROVIDER:MODEL, PI_ENGINE_GENERATOR"
    " or EngineSettings(generator=...)"
)


def job_families(settings: EngineSettings, service: ScoreService) -> list[FamilyWork[Any]]:
    """Every family the API has; those this process cannot work on say what is missing.

    Raises:
        ImportError: when the generator needs an extra that is not installed.
        PiUsageError: when the generator is none.
    """
    if settings.generator is None:
        why = _NO_GENERATOR
        return [
            FamilyWork(GENERATE_PAIRS, _nobody, missing=why),
            FamilyWork(GENERATE_INPUTS, _nobody, missing=why),
        ]
    try:
        from pi_integrations.engine.chat_models.models import choose_chat_model, choose_embeddings
        from pi_integrations.engine.synthesis.families import synthesis_families
    except ImportError as error:
        if (error.name or "").startswith("pi_integrations"):
            raise
        raise ImportError(
            f"generating data needs {error.name}; run: pip install 'pi-integrations[synthesis]'", name=error.name
        ) from error
    return synthesis_families(
        choose_chat_model(settings.generator),
        service,
        prices=settings.generator_prices,
        embeddings=choose_embeddings(settings.generator_embeddings),
    )


async def _nobody(request: Any, run: Run) -> Mapping[str, Any]:
    raise JobStopped(_NO_GENERATOR)
