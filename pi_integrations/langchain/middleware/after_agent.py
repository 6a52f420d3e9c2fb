"""The `after_agent` mode: the answer is scored when the agent is done; the agent continues if it is not good enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse, hook_config
from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.runtime import Runtime

from pi_integrations.langchain.feedback_messages import without_feedback
from pi_integrations.langchain.middleware.base import ScoreMiddleware, is_final
from pi_integrations.langchain.middleware.carried import update_of, with_update
from pi_integrations.langchain.middleware.state import Draft, PiScoreReport, PiScoreState, RetryBook
from pi_integrations.langchain.middleware.verdicts import better
from pi_integrations.models import ScoreResult

__all__ = ["AfterAgentHooks"]


class AfterAgentHooks(ScoreMiddleware):
    """The hooks after an agent, sync and async, and the model-call hooks that record which messages are the model's."""

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """The response as it is, or the best draft again when the model fails; the model's answer is remembered."""
        try:
            response = handler(request)
        except Exception as error:  # noqa: BLE001 (raised again unless there is a draft)
            return self._best_again(request, error)
        return self._remembered(request, response)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ExtendedModelResponse[Any]:
        """`wrap_model_call`, awaited."""
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 (raised again unless there is a draft)
            return self._best_again(request, error)
        return self._remembered(request, response)

    @hook_config(can_jump_to=["model"])
    def after_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """The scores, or a note to the model and a jump back to it; nothing when there is no answer."""
        if not self._has_answered(state):
            return self._without_answer(state)
        talk = without_feedback(state["messages"])
        return self._outcome(state, self.score(talk[:-1], talk[-1]))

    @hook_config(can_jump_to=["model"])
    async def aafter_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """`after_agent`, awaited."""
        if not self._has_answered(state):
            return self._without_answer(state)
        talk = without_feedback(state["messages"])
        return self._outcome(state, await self.ascore(talk[:-1], talk[-1]))

    def _remembered(self, request: ModelRequest[Any], response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
        last = response.result[-1] if response.result else None
        # LangGraph sets a missing id only when the message enters the state, too late to be recorded here.
        if last is not None and last.id is None:
            last.id = str(uuid4())
        book = self.book(request.state)
        is_draft = last is not None and is_final(last) and not _is_again(response)
        written = [*book["written"], last.id] if last is not None and last.id and is_draft else book["written"]
        return with_update(response, self.update({**book, "written": written, "failure": None}))

    def _best_again(self, request: ModelRequest[Any], error: Exception) -> ExtendedModelResponse[Any]:
        """The best draft in place of the model call that failed, so that the agent ends."""
        book, messages = self.book(request.state), request.state["messages"]
        best = _remaining(book["best"], messages)
        if best is None:
            raise error
        book = {**book, "failure": self.failure(error)}
        message = next(each for each in messages if each.id == best["report"]["message_id"])
        # With its old id, LangGraph would replace the earlier message in place, and the agent would not end on it.
        copy: Any = message.model_copy(update={"id": str(uuid4())})
        response: ModelResponse[Any] = ModelResponse(result=[copy], structured_response=best["structured"])
        return with_update(response, self.update(book))

    def _has_answered(self, state: PiScoreState) -> bool:
        """Whether the last message is the model's answer, not one that another middleware wrote, such as a limit's."""
        messages = state["messages"]
        return bool(messages) and is_final(messages[-1]) and messages[-1].id in self.book(state)["written"]

    def _without_answer(self, state: PiScoreState) -> dict[str, Any] | None:
        """The best draft, where the agent was stopped before the model could write another one."""
        book, messages = self.book(state), state["messages"]
        best = _remaining(book["best"], messages)
        if best is None or not is_final(messages[-1]):
            return None
        return self._settled(state, book, best)

    def _outcome(self, state: PiScoreState, result: ScoreResult | Exception) -> dict[str, Any]:
        book = self.book(state)
        draft = self._draft(state, result)
        best = _better(_remaining(book["best"], state["messages"]), draft)
        if self.is_settled(draft["report"], book):
            return self._settled(state, book, best)
        update = self.update({**book, "retries": book["retries"] + 1, "best": best})
        return {**update, "messages": [self.note(draft["report"])], "jump_to": "model"}

    def _draft(self, state: PiScoreState, result: ScoreResult | Exception) -> Draft:
        message_id = state["messages"][-1].id
        others = {
            name: report
            for name, report in state.get("pi_scores", {}).items()
            if name != self.name and report["message_id"] == message_id
        }
        report = self.report(result, self.book(state), message_id)
        return Draft(report=report, others=others, structured=state.get("structured_response"))

    def _settled(self, state: PiScoreState, book: RetryBook, best: Draft) -> dict[str, Any]:
        """The best draft as the agent's answer: later messages are removed, its scores and structured answer set."""
        report: PiScoreReport = {**best["report"], "drafts": len(book["written"]), "retry_error": book["failure"]}
        update = self.update({**book, "best": best, "failure": None}, report)
        late = _after(state["messages"], best)
        if not late:
            return update
        scores = {**best["others"], **update["pi_scores"]}
        structured = {"structured_response": best["structured"]} if "structured_response" in state else {}
        messages = [RemoveMessage(id=message_id) for message_id in late]
        return {**update, **structured, "pi_scores": scores, "messages": messages}


def _is_again(response: ModelResponse[Any]) -> bool:
    """Whether a `PiScoreMiddleware` inside this one put its best draft there, because the model failed."""
    return any(book and book["failure"] for book in update_of(response).get("pi_retries", {}).values())


def _after(messages: list[AnyMessage], best: Draft) -> list[str]:
    """Ids of the messages after the best draft."""
    ids = [message.id or "" for message in messages]
    return ids[ids.index(best["report"]["message_id"] or "") + 1 :]


def _remaining(best: Draft | None, messages: list[AnyMessage]) -> Draft | None:
    """The best draft unless its message is gone, as when a summary took its place."""
    gone = best is None or all(message.id != best["report"]["message_id"] for message in messages)
    return None if gone else best


def _better(first: Draft | None, second: Draft) -> Draft:
    if first is None or better(first["report"], second["report"]) is second["report"]:
        return second
    return first
