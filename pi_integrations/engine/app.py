"""The engine as an ASGI app: settings in, a FastAPI app out. Every route is served at `/` and below `/v1`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pi_integrations._version import __version__
from pi_integrations.engine.families import family_works
from pi_integrations.engine.gate import Gate
from pi_integrations.engine.judges.choose import choose_judge
from pi_integrations.engine.judges.protocol import LoadedJudge
from pi_integrations.engine.routes.answers import describe_bodies, error_response, health_routes, no_job_routes
from pi_integrations.engine.routes.page import page_routes
from pi_integrations.engine.routes.scoring import scoring_routes
from pi_integrations.engine.scoring.code_questions import CodeRunner
from pi_integrations.engine.scoring.custom_models import CustomModels
from pi_integrations.engine.scoring.service import ScoreService, VerdictCache
from pi_integrations.engine.settings import EngineSettings
from pi_integrations.models import ScoreRequest
from pi_integrations.models import families as registry

if TYPE_CHECKING:
    from pi_integrations.engine.jobs.engine import JobEngine
    from pi_integrations.engine.jobs.family import FamilyWork

__all__ = ["create_app"]


def create_app(settings: EngineSettings | None = None) -> FastAPI:
    """An app that answers the Pi API; its sandbox, its models and a judge it made are released when its lifespan ends.

    Args:
        settings: Default: `EngineSettings.from_env()`.

    Raises:
        PiUsageError: when the settings name no judge, or one of them cannot be used.

    Example:
        ```python
        app = create_app(EngineSettings(judge="baseline"))  # uvicorn module:app
        ```
    """
    settings = settings or EngineSettings.from_env()
    judge = choose_judge(settings.judge)
    code = CodeRunner(settings.code_limits)
    custom = CustomModels(settings.custom_models)
    cache = VerdictCache(settings.verdict_cache_size)
    service = ScoreService(judge, code, custom, cache, judge_timeout=settings.judge_timeout)
    works = family_works(settings, service) if settings.jobs is not None else []
    jobs, job_router = _jobs(settings, works)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            # A model that cannot be loaded stops the engine from starting, instead of failing the first request.
            if isinstance(judge, LoadedJudge):
                await judge.load()
            await custom.load()
            if jobs is not None:
                await jobs.start()
            yield
        finally:
            # Jobs first: until they have stopped they use the judge and the models.
            if jobs is not None:
                await jobs.stop()
            # A judge given as an object is its maker's to close.
            for resource in (code, custom) if judge is settings.judge else (judge, code, custom):
                await resource.aclose()

    # None of FastAPI's pages: they load scripts from elsewhere. The schema is at /openapi.json.
    app = FastAPI(title="Pi engine", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    # Both, since the hosted service's base URL ends in /v1 and others need not.
    for prefix in ("", "/v1"):
        app.include_router(scoring_routes(service, settings.unscored), prefix=prefix, include_in_schema=not prefix)
        app.include_router(health_routes(judge), prefix=prefix, include_in_schema=not prefix)
        app.include_router(job_router, prefix=prefix, include_in_schema=not prefix)
    app.include_router(page_routes(registry.FAMILIES))
    describe_bodies(app, [ScoreRequest, *(work.family.request for work in works)])
    app.state.works = works
    # Called before the app's connections are waited for: streams would keep them open until their jobs end.
    app.state.end_streams = jobs.end_streams if jobs is not None else None
    app.add_middleware(Gate, settings=settings)
    app.add_exception_handler(HTTPException, _http_error)
    return app


def _jobs(settings: EngineSettings, works: list[FamilyWork[Any]]) -> tuple[JobEngine | None, APIRouter]:
    if settings.jobs is None:
        return None, no_job_routes(family.path for family in registry.FAMILIES)
    # Imported only here: an engine without jobs needs none of their packages.
    try:
        from pi_integrations.engine.jobs.engine import JobEngine
        from pi_integrations.engine.routes.jobs import job_routes
    except ImportError as error:
        if (error.name or "").startswith("pi_integrations"):
            raise  # a broken import of our own, which no pip command fixes
        raise ImportError(
            f"jobs need {error.name}; run: pip install 'pi-integrations[engine]'", name=error.name
        ) from error
    jobs = JobEngine(settings.jobs, works)
    return jobs, job_routes(jobs, works)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = error_response(error.status_code, error.detail, retryable=error.status_code >= 500)
    response.headers.update(error.headers or {})
    return response
