"""The default mode: drafts are scored and written again inside the model call, so that only one leaves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.messages import AnyMessage

from pi_integrations.langchain.feedback_messages import without_feedback
from pi_integrations.langchain.middleware.base import ScoreMiddleware, is_final
from pi_integrations.langchain.middleware.carried import update_of, with_update
from pi_integrations.langchain.middleware.state import HeldDraft, PiScoreReport
from pi_integrations.langchain.middleware.verdicts import better
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
            try:
                response = handler(drafts.request)
            except Exception as error:  # noqa: BLE001 (raised again unless there is a draft)
                return drafts.best(error)
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
            try:
                response = await handler(drafts.request)
            except Exception as error:  # noqa: BLE001 (raised again unless there is a draft)
                return drafts.best(error)
            if drafts.leaves_unscored(response):
                return drafts.unscored(response)
            drafts.take(response, await self.ascore(drafts.asked, drafts.answer(response)))
        return drafts.best()


class _Drafts:
    """The drafts of one model call, the best of these and of earlier ones, and the next request to the model."""

    def __init__(self, middleware: ScoreMiddleware, request: ModelRequest[Any]) -> None:
        self._middleware = middleware
        self._first = self.request = request
        self._book = middleware.book(request.state)
        self._best: HeldDraft | None = self._book["held"]
        self._is_last = False
        self.wanted = True

    @property
    def asked(self) -> Sequence[AnyMessage]:
        """The messages that the answer replies to, the system prompt included."""
        system = self._first.system_message
        return [*([system] if system else []), *without_feedback(self._first.messages)]

    def answer(self, response: ModelResponse[Any]) -> Any:
        """The structured answer, or else the message."""
        return response.result[-1] if response.structured_response is None else response.structured_response

    def leaves_unscored(self, response: ModelResponse[Any]) -> bool:
        """Whether it is no answer: a call of tools."""
        return response.structured_response is None and not (response.result and is_final(response.result[-1]))

    def unscored(self, response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
        """The response; the retries and the best draft so far count when the model is called again."""
        return with_update(response, self._middleware.update({**self._book, "held": self._best}))

    def take(self, response: ModelResponse[Any], result: ScoreResult | Exception) -> None:
        """Stores the draft if it is the best, and prepares the next request if another draft is wanted."""
        report = self._middleware.report(result, self._book, _written_id(response))
        self._is_last = better(self._best and self._best["report"], report) is report
        self._best = _held(response, report) if self._is_last else self._best
        self.wanted = not self._middleware.is_settled(report, self._book)
        if self.wanted:
            messages: list[Any] = [*self._first.messages, *response.result, self._middleware.note(report)]
            self.request = self._first.override(messages=messages)
            self._book = {**self._book, "retries": self._book["retries"] + 1}

    def best(self, error: Exception | None = None) -> ExtendedModelResponse[Any]:
        """The best draft, with its scores for the state, also when `error` kept the model from writing another.

        Raises:
            Exception: `error`, when there is no draft, or when it is not the model's.
        """
        best = self._best
        if best is None:
            assert error is not None
            raise error
        failure = self._middleware.failure(error) if error else None
        drafts = self._book["retries"] + (0 if error else 1)
        report: PiScoreReport = {**best["report"], "drafts": drafts, "retry_error": failure}
        update = self._middleware.update({**self._book, "held": None}, report)
        return with_update(ModelResponse(best["messages"], best["structured"]), update, self._carried(best))

    def _carried(self, best: HeldDraft) -> dict[str, dict[str, Any]]:
        """Other middlewares' updates about `best`; where unknown, they get no report rather than another draft's."""
        if self._is_last:
            return best["update"]
        unknown = dict.fromkeys(self._middleware.names(self._first.state))
        return {**best["update"], "pi_scores": {**unknown, **best["update"].get("pi_scores", {})}}


def _held(response: ModelResponse[Any], report: PiScoreReport) -> HeldDraft:
    update = {key: dict(entries) for key, entries in update_of(response).items()}
    return HeldDraft(messages=response.result, structured=response.structured_response, report=report, update=update)


def _written_id(response: ModelResponse[Any]) -> str | None:
    """Id of the last message that has one: LangChain's note about a structured answer has none yet."""
    return next((message.id for message in reversed(response.result) if message.id), None)
