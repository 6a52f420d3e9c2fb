"""The other mode: the agent's answer is scored when the agent is done, and the agent goes on when it falls short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain.agents.middleware import hook_config
from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.runtime import Runtime

from pi_integrations.langchain.feedback_messages import without_feedback
from pi_integrations.langchain.middleware.base import ScoreMiddleware, better, is_final
from pi_integrations.langchain.middleware.state import PiScoreReport, PiScoreState, RetryBook
from pi_integrations.models import ScoreResult

__all__ = ["AfterAgentHooks"]

_NEW = RetryBook(turn="", retries=0, best=None)


class AfterAgentHooks(ScoreMiddleware):
    """The hooks after an agent, sync and async."""

    def before_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """A run of the agent begins with all its retries, whatever was asked before."""
        return self.update(_NEW)

    async def abefore_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """`before_agent`, awaited."""
        return self.update(_NEW)

    def book(self, state: Any, messages: Sequence[AnyMessage]) -> RetryBook:
        """What is remembered of this run; by no message's id, for a summary may take the user's message away."""
        book: RetryBook = state.get("pi_retries", {}).get(self.name) or _NEW
        return book

    @hook_config(can_jump_to=["model"])
    def after_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """The scores, or a note to the model and a jump back to it; nothing when there is no answer."""
        talk = without_feedback(state["messages"])
        if not talk or not is_final(talk[-1]):
            return None
        return self._outcome(state, self.score(talk[:-1], talk[-1]))

    @hook_config(can_jump_to=["model"])
    async def aafter_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """`after_agent`, awaited."""
        talk = without_feedback(state["messages"])
        if not talk or not is_final(talk[-1]):
            return None
        return self._outcome(state, await self.ascore(talk[:-1], talk[-1]))

    def _outcome(self, state: PiScoreState, result: ScoreResult | Exception) -> dict[str, Any]:
        messages = state["messages"]
        book = self.book(state, messages)
        report = self.report(result, book, messages[-1].id)
        best = better(book["best"], report)
        if self.is_settled(report, book):
            update = self.update(book, {**best, "drafts": report["drafts"]})
            return {**update, "messages": _after(messages, best)}
        update = self.update({**book, "retries": book["retries"] + 1, "best": best})
        return {**update, "messages": [self.note(report)], "jump_to": "model"}


def _after(messages: list[AnyMessage], best: PiScoreReport) -> list[RemoveMessage]:
    """Removes what came after the best draft, so that it is the answer."""
    position = next((i for i, message in enumerate(messages) if message.id == best["message_id"]), len(messages))
    return [RemoveMessage(id=message.id or "") for message in messages[position + 1 :]]
