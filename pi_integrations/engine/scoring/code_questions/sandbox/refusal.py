"""Why a call has no score."""

from __future__ import annotations

__all__ = ["Refusal"]


class Refusal(Exception):
    """The call has no score; the message is the reason, for the person who wrote the code.

    Attributes:
        retryable: Whether the same call may succeed later.
    """

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable
