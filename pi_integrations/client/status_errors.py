"""Error answers as exceptions that say what to try."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from json import loads
from typing import Any

from pi_integrations.client.transport import Answer
from pi_integrations.errors import PiStatusError
from pi_integrations.models.wire import (
    REQUEST_ID_HEADER,
    RETRY_AFTER_HEADER,
    RETRY_AFTER_MS_HEADER,
    SHOULD_RETRY_HEADER,
)

__all__ = ["status_error"]

_SHOWN_CHARACTERS = 500
_CHECK_KEY = " Check api_key (WITHPI_API_KEY) and base_url."
_HINTS = {401: _CHECK_KEY, 403: _CHECK_KEY, 404: " Check that base_url is the root of a Pi API."}


def status_error(method: str, path: str, answer: Answer, *, hints: Mapping[int, str] | None = None) -> PiStatusError:
    """The exception for an answer whose status is not 2xx; `hints`, by status, take the place of the usual advice."""
    detail = _detail(answer.body)
    retry_after = _retry_after(answer.headers)
    message = f"{method} {path} answered {answer.status}: {_shown_detail(detail)}."
    if retry_after is not None:
        message += f" The server asks for {retry_after:.3g} s."
    message += {**_HINTS, **(hints or {})}.get(answer.status, "")
    if 300 <= answer.status < 400 and "location" in answer.headers:
        message += f" It redirects to {answer.headers['location']}: set base_url there."
    should_retry = {"true": True, "false": False}.get(answer.headers.get(SHOULD_RETRY_HEADER, "").lower())
    return PiStatusError(
        message,
        status=answer.status,
        detail=detail,
        request_id=answer.headers.get(REQUEST_ID_HEADER),
        retry_after=retry_after,
        should_retry=should_retry,
    )


def _detail(body: bytes) -> Any:
    try:
        parsed = loads(body)
    except (ValueError, RecursionError):
        return body[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
    return parsed.get("detail", parsed) if isinstance(parsed, dict) else parsed


def _shown_detail(detail: Any) -> str:
    if isinstance(detail, list) and all(isinstance(part, dict) and "msg" in part for part in detail):
        text = "; ".join(f"{_path(part.get('loc', []))}{part['msg']}" for part in detail)
    else:
        text = str(detail)
    text = " ".join(text.split()) or "no detail"
    return (text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…").rstrip(".")


def _path(location: Any) -> str:
    parts = [str(part) for part in location if part != "body"] if isinstance(location, list) else []
    return ".".join(parts) + ": " if parts else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, scale in ((RETRY_AFTER_MS_HEADER, 0.001), (RETRY_AFTER_HEADER, 1.0)):
        seconds = _seconds(headers.get(name, ""), scale)
        if seconds is not None:
            return seconds
    return None


def _seconds(text: str, scale: float) -> float | None:
    try:
        seconds = float(text) * scale
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
