"""`GET /healthz`: whether this engine takes requests, and who judges."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from pi_integrations.engine.judges import Judge
from pi_integrations.engine.routes.answers import json_response
from pi_integrations.models.wire import HEALTH_PATH

__all__ = ["health_routes"]


def health_routes(judge: Judge) -> APIRouter:
    """The health route; needs no key."""
    router = APIRouter(tags=["health"])

    @router.head(HEALTH_PATH, response_model=None, include_in_schema=False)
    @router.get(HEALTH_PATH, response_model=None)
    async def healthz() -> Response:
        """200 while the engine takes requests."""
        return json_response({"status": "ok", "judge": judge.fingerprint})

    return router
