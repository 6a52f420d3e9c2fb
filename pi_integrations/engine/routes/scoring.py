"""`POST /scoring_system/score`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from pi_integrations.engine.routes.answers import error_response, invalid_response, json_response, request_body
from pi_integrations.engine.scoring.service import ScoreService, ScoringFailed
from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreRequest, ScoreResult, describe
from pi_integrations.models.wire import SCORE_PATH, UNSCORED_HEADER, UnscoredPolicy

__all__ = ["scoring_routes"]


def scoring_routes(service: ScoreService, default_policy: UnscoredPolicy) -> APIRouter:
    """The scoring resource's routes."""
    router = APIRouter(tags=["scoring_system"])

    async def score(request: Request) -> Response:
        """Scores one exchange against a scoring spec of either generation."""
        policy = request.headers.get(UNSCORED_HEADER, default_policy)
        if policy not in ("error", "partial"):
            return invalid_response(["header", UNSCORED_HEADER], f"is {policy!r}; send error or partial")
        try:
            body = ScoreRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return error_response(422, describe(error, prefix=["body"]), retryable=False)
        try:
            return json_response(await service.score(body, policy))  # type: ignore[arg-type]
        except PiUsageError as error:
            return invalid_response(["body", "scoring_spec"], str(error))
        except ScoringFailed as failure:
            status = 422 if failure.fault == "code" else 502
            return error_response(status, str(failure), retryable=failure.retryable)

    router.add_api_route(
        SCORE_PATH,
        score,
        methods=["POST"],
        response_model=None,
        responses={200: {"model": ScoreResult}},
        openapi_extra=request_body(ScoreRequest),
    )
    return router
