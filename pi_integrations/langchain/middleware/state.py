"""What the middleware keeps in an agent's state."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState
from langchain.agents.middleware.types import OmitFromInput, PrivateStateAttr
from typing_extensions import TypedDict

__all__ = ["PiScoreReport", "PiScoreState", "RetryBook"]


class PiScoreReport(TypedDict):
    """How the answer that an agent gave was scored."""

    total_score: float | None
    """In [0, 1]; None when it could not be scored."""
    question_scores: dict[str, float | None]
    """By label or text of the question, each in [0, 1], or None when unscored."""
    passed: bool
    """Whether the total reached the threshold."""
    drafts: int
    """Answers the model wrote for it, this one included."""
    error: str | None
    """Why it could not be scored."""
    message_id: str | None
    """Id of the message that was scored."""


class RetryBook(TypedDict):
    """What is remembered while one turn of the conversation is answered."""

    turn: str
    """Id of the user's message."""
    retries: int
    """Retries spent on it."""
    best: PiScoreReport | None
    """Report of the best draft, when drafts stay in the messages."""


def _merged(before: dict[str, Any] | None, update: dict[str, Any] | None) -> dict[str, Any]:
    return {**(before or {}), **(update or {})}


class PiScoreState(AgentState[Any]):
    """The agent's state with scores in it."""

    # The reducer comes last, where LangGraph looks for it; it lets several middlewares write at the same step.
    pi_scores: NotRequired[Annotated[dict[str, PiScoreReport], OmitFromInput, _merged]]
    """By the name of the middleware."""
    pi_retries: NotRequired[Annotated[dict[str, RetryBook], PrivateStateAttr, _merged]]
    """By the name of the middleware."""
