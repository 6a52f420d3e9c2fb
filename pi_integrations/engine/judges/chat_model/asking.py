"""One request to a judge model: time limit, failures as reasons, and a temperature that the provider accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from pi_integrations.engine.chat_models.ending import refusal_of
from pi_integrations.engine.chat_models.failures import NoAnswer, failure_of
from pi_integrations.engine.chat_models.fence import Prompt
from pi_integrations.engine.judges.chat_model.model import JudgeModel
from pi_integrations.engine.judges.chat_model.usage import Bill

__all__ = ["Asker"]

_WHO = "judge model"
_Send = Callable[[JudgeModel, Prompt], Coroutine[Any, Any, AIMessage]]


class Asker:
    """Asks a chat model; every trouble comes out as `NoAnswer`, cancellation alone passes through."""

    def __init__(
        self, model: BaseChatModel, *, temperature: float | None, top_logprobs: int, schema: bool, timeout: float | None
    ) -> None:
        self._as_given = JudgeModel(model, top_logprobs=top_logprobs, schema=schema)
        self.model = self._as_given.at_temperature(temperature)
        self._timeout = timeout

    async def words(self, prompt: Prompt, bill: Bill) -> AIMessage:
        """The answer in words, with log-probabilities if the provider sends them."""
        return await self._ask(JudgeModel.words, prompt, bill)

    async def answers(self, prompt: Prompt, bill: Bill) -> AIMessage:
        """The answer with explanations and probabilities."""
        return await self._ask(JudgeModel.answers, prompt, bill)

    async def _ask(self, send: _Send, prompt: Prompt, bill: Bill) -> AIMessage:
        message = await self._send_at_accepted_temperature(send, prompt, bill)
        if refusal := refusal_of(message, who=_WHO):
            raise NoAnswer(refusal)
        return message

    async def _send_at_accepted_temperature(self, send: _Send, prompt: Prompt, bill: Bill) -> AIMessage:
        model = self.model
        try:
            return await self._send(model, send, prompt, bill)
        except NoAnswer as failure:
            if model is self._as_given or not failure.turns_down("temperature"):
                raise
        bill.turned_down()
        message = await self._send(self._as_given, send, prompt, bill)
        self.model = self._as_given
        return message

    async def _send(self, model: JudgeModel, send: _Send, prompt: Prompt, bill: Bill) -> AIMessage:
        bill.call()
        try:
            async with asyncio.timeout(self._timeout) as limit:
                # In a context of its own: callbacks and token counters of a run around this one would see the judge's
                # calls as the application's, and a handler that scores calls would score these without end.
                message = await asyncio.create_task(send(model, prompt), context=Context())
        except Exception as error:  # noqa: BLE001 - whatever a provider raises is a reason, never a crash
            raise (
                self._late() if limit.expired() else failure_of(error, model.secrets, who=_WHO, reads="exchange")
            ) from None
        bill.answered(message)
        return message

    def _late(self) -> NoAnswer:
        reason = f"the judge model gave no answer within {self._timeout} s; raise the judge's timeout or try later"
        return NoAnswer(reason, retryable=True)
