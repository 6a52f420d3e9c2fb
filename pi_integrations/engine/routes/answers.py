"""Responses every route gives alike."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from pi_integrations.models.wire import SHOULD_RETRY_HEADER

__all__ = ["error_response", "json_response"]


def json_response(body: Any, *, status: int = 200) -> Response:
    """`body` as JSON; NaN is a programming error here, not a number on the wire.

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
