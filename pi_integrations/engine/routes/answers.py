"""What the routes share: the form of answers, the health check, the refusal of jobs, and the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from pi_integrations.engine.judges import Judge
from pi_integrations.models.wire import HEALTH_PATH, SHOULD_RETRY_HEADER

__all__ = [
    "describe_bodies",
    "error_response",
    "health_routes",
    "invalid_response",
    "json_response",
    "no_job_routes",
    "request_body",
]

_SCHEMAS = "#/components/schemas/"
_NO_JOBS = "this engine runs no jobs; use `pi-integrations serve`, embedded(jobs=True), or EngineSettings(jobs=...)"


def json_response(body: Any, *, status: int = 200) -> Response:
    """`body` as JSON; NaN raises ValueError.

    Half a surrogate pair, which a model may write and no JSON reader takes, becomes a question mark.
    """
    return Response(
        json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace"),
        status_code=status,
        media_type="application/json",
    )


def error_response(status: int, detail: Any, *, retryable: bool) -> Response:
    """`{"detail": …}`, marked `x-should-retry: false` when the same request would fail again."""
    response = json_response({"detail": detail}, status=status)
    if not retryable:
        response.headers[SHOULD_RETRY_HEADER] = "false"
    return response


def invalid_response(location: list[str], message: str) -> Response:
    """422 for one part of a request, such as `["body", "scoring_spec"]`."""
    return error_response(422, [{"type": "value_error", "loc": location, "msg": message}], retryable=False)


def health_routes(judge: Judge) -> APIRouter:
    """`GET /healthz`, which needs no key."""
    router = APIRouter(tags=["health"])

    @router.head(HEALTH_PATH, response_model=None, include_in_schema=False)
    @router.get(HEALTH_PATH, response_model=None)
    async def healthz() -> Response:
        """200 while the engine takes requests, with the judge's fingerprint."""
        return json_response({"status": "ok", "judge": judge.fingerprint})

    return router


def no_job_routes(paths: Iterable[str]) -> APIRouter:
    """501 for everything at and below these paths, on an engine without jobs."""
    router = APIRouter()

    async def refuse() -> Response:
        return error_response(501, _NO_JOBS, retryable=False)

    for path in paths:
        for each in (path, path + "/{rest:path}"):
            router.add_api_route(
                each, refuse, methods=["GET", "POST", "DELETE"], include_in_schema=False, response_model=None
            )
    return router


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a body that a route reads by hand; see `describe_bodies`."""
    schema = {"$ref": _SCHEMAS + model.__name__}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe_bodies(app: FastAPI, models: Iterable[type[BaseModel]]) -> None:
    """Puts `models` and all they refer to under `components.schemas` of the app's OpenAPI document."""
    generate = app.openapi
    wanted = [(model, "validation") for model in models]

    def openapi() -> dict[str, Any]:
        document = generate()
        _, found = models_json_schema(wanted, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in found["$defs"].items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
