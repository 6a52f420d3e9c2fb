"""The other mode: the agent's answer is scored when the agent is done, and the agent goes on when it falls short."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware import hook_config
from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.runtime import Runtime

from pi_integrations.langchain.feedback_messages import without_feedback
from pi_integrations.langchain.middleware.base import ScoreMiddleware, better, is_final
from pi_integrations.langchain.middleware.state import PiScoreReport, PiScoreState
from pi_integrations.models import ScoreResult

__all__ = ["AfterAgentHooks"]


class AfterAgentHooks(ScoreMiddleware):
    """The hooks after an agent, sync and async."""

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
