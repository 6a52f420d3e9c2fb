"""The job routes of an engine that runs no jobs: every one says so, and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from starlette.responses import Response

from pi_integrations.engine.routes.answers import error_response

__all__ = ["no_job_routes"]

_MESSAGE = "this engine runs no jobs; use `pi-integrations serve`, embedded(jobs=True), or EngineSettings(jobs=...)"


def no_job_routes(paths: Iterable[str]) -> APIRouter:
    """501 for everything at and below these paths."""
    router = APIRouter()

    async def refuse() -> Response:
        return error_response(501, _MESSAGE, retryable=False)

    for path in paths:
        for each in (path, path + "/{rest:path}"):
            router.add_api_route(
                each, refuse, methods=["GET", "POST", "DELETE"], include_in_schema=False, response_model=None
            )
    return router
