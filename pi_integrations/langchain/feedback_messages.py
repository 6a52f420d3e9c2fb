"""The notes in which `PiScoreMiddleware` requests a better answer of a model, marked apart from user messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["FEEDBACK_MARK", "is_feedback", "without_feedback"]

FEEDBACK_MARK = "pi_score_feedback"
"""Key in a message's `additional_kwargs`."""


def is_feedback(message: Any) -> bool:
    """Whether `message` is such a note."""
    extra = getattr(message, "additional_kwargs", None)
    return isinstance(extra, Mapping) and FEEDBACK_MARK in extra


def without_feedback(messages: Sequence[Any]) -> list[Any]:
    """`messages` without those notes and the drafts they are about: the conversation as the user knows it."""
    kept: list[Any] = []
    for message in messages:
        if is_feedback(message):
            _drop_draft(kept)
        else:
            kept.append(message)
    return kept


def _drop_draft(messages: list[Any]) -> None:
    """Takes the draft off the end, unless a summary took its place; a structured one is a call with its reply."""
    reply = bool(messages) and getattr(messages[-1], "type", None) == "tool"
    draft = messages[-2:] if reply else messages[-1:]
    if draft and getattr(draft[0], "type", None) == "ai":
        del messages[-len(draft) :]
