"""The default mode: drafts are scored and written again inside the model call, so that only one leaves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.messages import AnyMessage

from pi_integrations.langchain.feedback_messages import without_feedback
from pi_integrations.langchain.middleware.base import ScoreMiddleware, better, is_final
from pi_integrations.langchain.middleware.carried import with_update
from pi_integrations.langchain.middleware.state import PiScoreReport
from pi_integrations.models import ScoreResult

__all__ = ["ModelCallHooks"]


class ModelCallHooks(ScoreMiddleware):
    """The hooks around a model call, sync and async."""

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """The best draft with its scores; a call of tools at once, and unscored."""
        drafts = _Drafts(self, request)
        while drafts.wanted:
            response = handler(drafts.request)
            if drafts.leaves_unscored(response):
                return drafts.unscored(response)
            drafts.take(response, self.score(drafts.asked, drafts.answer(response)))
        return drafts.best()

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ExtendedModelResponse[Any]:
        """`wrap_model_call`, awaited."""
        drafts = _Drafts(self, request)
        while drafts.wanted:
            response = await handler(drafts.request)
            if drafts.leaves_unscored(response):
                return drafts.unscored(response)
            drafts.take(response, await self.ascore(drafts.asked, drafts.answer(response)))
        return drafts.best()


class _Drafts:
    """The drafts of one model call, the best of them, and what to ask the model next."""

    def __init__(self, middleware: ScoreMiddleware, request: ModelRequest[Any]) -> None:
        self._middleware = middleware
        self._first = self.request = request
        self._book = middleware.book(request.state)
        self._best: tuple[ModelResponse[Any], PiScoreReport] | None = None
        self.wanted = True

    @property
    def asked(self) -> Sequence[AnyMessage]:
        """What the answer is an answer to, the system prompt included."""
        system = self._first.system_message
        return [*([system] if system else []), *without_feedback(self._first.messages)]

    def answer(self, response: ModelResponse[Any]) -> Any:
        """The structured answer, or else the message."""
        return response.result[-1] if response.structured_response is None else response.structured_response

    def leaves_unscored(self, response: ModelResponse[Any]) -> bool:
        """Whether it is no answer: a call of tools."""
        return response.structured_response is None and not (response.result and is_final(response.result[-1]))

    def unscored(self, response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
        """The response; the retries spent so far count when the model is called again."""
        return with_update(response, self._middleware.update(self._book))

    def take(self, response: ModelResponse[Any], result: ScoreResult | Exception) -> None:
        """Keeps the draft when it is the best, and prepares the next request unless this settles it."""
        report = self._middleware.report(result, self._book, _written_id(response))
        best = better(self._best and self._best[1], report)
        self._best = (response, report) if best is report else self._best
        self.wanted = not self._middleware.is_settled(report, self._book)
        if self.wanted:
            messages: list[Any] = [*self._first.messages, *response.result, self._middleware.note(report)]
            self.request = self._first.override(messages=messages)
            self._book = {**self._book, "retries": self._book["retries"] + 1}

    def best(self) -> ExtendedModelResponse[Any]:
        """The best draft, with its scores for the state."""
        assert self._best is not None
        response, report = self._best
        report = {**report, "drafts": self._book["retries"] + 1}
        return with_update(response, self._middleware.update(self._book, report))


def _written_id(response: ModelResponse[Any]) -> str | None:
    """Id of the last message that has one: LangChain's note about a structured answer has none yet."""
    return next((message.id for message in reversed(response.result) if message.id), None)
