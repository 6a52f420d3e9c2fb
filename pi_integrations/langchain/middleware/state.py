"""The middleware's entries in an agent's state."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState
from langchain.agents.middleware.types import OmitFromInput, PrivateStateAttr
from typing_extensions import TypedDict

__all__ = ["Draft", "HeldDraft", "PiScoreReport", "PiScoreState", "RetryBook"]


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
    """Id of the message that was scored; of a structured answer by tool, of the model's call of that tool."""
    retry_error: str | None
    """Why the model did not write another draft, where it failed on a retry."""


class Draft(TypedDict):
    """An answer that may still turn out to be the best, when drafts stay in the messages."""

    report: PiScoreReport
    """How it was scored."""
    others: dict[str, PiScoreReport]
    """How other middlewares scored it, by their names."""
    structured: Any
    """The structured response that came with it."""


class HeldDraft(TypedDict):
    """An answer that may still turn out to be the best, and is not in the messages."""

    messages: list[Any]
    """The answer, and the messages that LangChain added after it."""
    structured: Any
    """The structured response that came with it."""
    report: PiScoreReport
    """How it was scored."""
    update: dict[str, dict[str, Any]]
    """The inner middlewares' update of the state about it."""


class RetryBook(TypedDict):
    """The middleware's record of a run of the agent."""

    retries: int
    """Retries spent on it."""
    best: Draft | None
    """The best draft, when drafts stay in the messages."""
    held: HeldDraft | None
    """The best draft while a retry calls tools, when drafts stay out of the messages."""
    written: list[str]
    """Ids of the answers that came from the model."""
    failure: str | None
    """Why the model's last call failed."""


_Entries = dict[str, Any]


def _merged(before: _Entries | None, update: _Entries | None) -> _Entries:
    """Entry by entry; an update of None takes the entry away."""
    merged = {**(before or {}), **(update or {})}
    return {name: entry for name, entry in merged.items() if entry is not None}


class PiScoreState(AgentState[Any]):
    """The agent's state with scores in it."""

    # The reducer comes last, where LangGraph looks for it; it lets several middlewares write at the same step.
    pi_scores: NotRequired[Annotated[dict[str, PiScoreReport], OmitFromInput, _merged]]
    """By the name of the middleware; of this run's answer, and empty until there is one."""
    pi_retries: NotRequired[Annotated[dict[str, RetryBook], PrivateStateAttr, _merged]]
    """By the name of the middleware."""
