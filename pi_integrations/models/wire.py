"""The wire in one place: the paths, header names, policies and limits that client and engine share."""

from __future__ import annotations

from typing import Final, Literal

from pi_integrations.errors import PiUsageError

__all__ = [
    "API_KEY_HEADER",
    "CALIBRATE_PATH",
    "GENERATE_INPUTS_PATH",
    "GENERATE_PAIRS_PATH",
    "HEALTH_PATH",
    "HOSTED_BASE_URL",
    "IDEMPOTENCY_HEADER",
    "MAX_GENERATED_ITEMS",
    "MAX_IDEMPOTENCY_KEY",
    "REQUEST_ID_HEADER",
    "RETRY_AFTER_HEADER",
    "RETRY_AFTER_MS_HEADER",
    "SCORE_PATH",
    "SHOULD_RETRY_HEADER",
    "STREAM_START_HEADER",
    "UNSCORED_HEADER",
    "UnscoredPolicy",
    "checked_policy",
]

HOSTED_BASE_URL: Final = "https://api.withpi.ai/v1"

SCORE_PATH: Final = "/scoring_system/score"
CALIBRATE_PATH: Final = "/scoring_system/calibrate"
GENERATE_PAIRS_PATH: Final = "/data/generate_input_response_pairs"
GENERATE_INPUTS_PATH: Final = "/data/generate"
HEALTH_PATH: Final = "/healthz"

API_KEY_HEADER: Final = "x-api-key"
IDEMPOTENCY_HEADER: Final = "idempotency-key"
REQUEST_ID_HEADER: Final = "x-request-id"
RETRY_AFTER_HEADER: Final = "retry-after"
RETRY_AFTER_MS_HEADER: Final = "retry-after-ms"
SHOULD_RETRY_HEADER: Final = "x-should-retry"
STREAM_START_HEADER: Final = "x-pi-stream-start"
UNSCORED_HEADER: Final = "x-pi-unscored"

MAX_GENERATED_ITEMS: Final = 100_000
"""Most items that one generation job makes."""
MAX_IDEMPOTENCY_KEY: Final = 255
"""Most characters of an idempotency key."""

UnscoredPolicy = Literal["error", "partial"]
"""What to do about questions without a usable answer: fail the request, or leave them out of the total."""


def checked_policy(unscored: UnscoredPolicy | None) -> UnscoredPolicy | None:
    """`unscored`, if it is a policy or None.

    Raises:
        PiUsageError: naming the two there are.
    """
    if unscored not in (None, "error", "partial"):
        raise PiUsageError(f"unscored is {unscored!r}; give 'error' or 'partial'")
    return unscored
