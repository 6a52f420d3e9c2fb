"""What this engine can work on: every registered family of jobs, with its work as the settings allow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from pi_integrations.engine.jobs.family import FamilyWork, JobStopped, Run
from pi_integrations.engine.scoring.service import ScoreService
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.models import families as registry
from pi_integrations.models.families import CALIBRATE, GENERATE_INPUTS, GENERATE_PAIRS, JobFamily

__all__ = ["BUILDERS", "family_works", "without_work"]

Builder = Callable[[EngineSettings, ScoreService], FamilyWork[Any]]
_NO_GENERATOR = (
    "this engine has no generator to make data with; start it with --generator chat:PROVIDER:MODEL, PI_ENGINE_GENERATOR"
    " or EngineSettings(generator=...)"
)
# The generating families of each engine that is being built, by its scoring service.
_generating: dict[int, list[FamilyWork[Any]]] = {}


def family_works(settings: EngineSettings, service: ScoreService) -> list[FamilyWork[Any]]:
    """The work of every registered family, with what is missing where this process cannot do it.

    Raises:
        ImportError: when a family's work needs an extra that is not installed.
        PiUsageError: when a setting of a family's work cannot be used.
    """
    try:
        return [BUILDERS[family.path](settings, service) for family in registry.FAMILIES]
    finally:
        # An id is free again once its object is gone: works left here could be taken for another engine's.
        _generating.pop(id(service), None)


def without_work(family: JobFamily[Any, Any, Any], missing: str) -> FamilyWork[Any]:
    """A family that this process takes jobs of for other workers, and cannot work on itself."""

    async def stop(request: Any, run: Run) -> Mapping[str, Any]:
        raise JobStopped(missing)

    return FamilyWork(family, stop, missing=missing)


def _pairs(settings: EngineSettings, service: ScoreService) -> FamilyWork[Any]:
    return _generation(GENERATE_PAIRS, settings, service)


def _inputs(settings: EngineSettings, service: ScoreService) -> FamilyWork[Any]:
    return _generation(GENERATE_INPUTS, settings, service)


def _generation(family: JobFamily[Any, Any, Any], settings: EngineSettings, service: ScoreService) -> FamilyWork[Any]:
    if settings.generator is None:
        return without_work(family, _NO_GENERATOR)
    # Made together: one limit on the generator's calls holds for the jobs of both.
    works = _generating.get(id(service)) or _generating.setdefault(id(service), _both(settings, service))
    return next(work for work in works if work.family is family)


def _both(settings: EngineSettings, service: ScoreService) -> list[FamilyWork[Any]]:
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


def _calibration(settings: EngineSettings, service: ScoreService) -> FamilyWork[Any]:
    if find_spec("scipy") is None:
        raise ImportError("calibrating specs needs scipy; run: pip install 'pi-integrations[engine]'", name="scipy")
    from pi_integrations.engine.calibration.work import calibration_work

    return calibration_work(service)


BUILDERS: dict[str, Builder] = {
    GENERATE_PAIRS.path: _pairs,
    GENERATE_INPUTS.path: _inputs,
    CALIBRATE.path: _calibration,
}
"""The builder of each family's work, by the family's path. A builder sets `missing` where the work cannot be done."""
