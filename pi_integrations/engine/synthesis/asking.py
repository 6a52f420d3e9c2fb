"""One request to the generator: temperature, time limit, and failures as reasons."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from pi_integrations.engine.chat_models.ending import refusal_of
from pi_integrations.engine.chat_models.failures import NoAnswer, failure_of
from pi_integrations.engine.chat_models.settings import at_temperature, secrets_of
from pi_integrations.engine.synthesis.prompts import Prompt

__all__ = ["Generator"]

_WHO = "generator"
_CONFIG = RunnableConfig(run_name="pi_generator")
# Some providers end at 1, and some take no temperature.
_COMMON_MAXIMUM = 1.0


class Generator:
    """A chat model that is asked for items, shared by all jobs of a process.

    Args:
        model: Asked at temperatures of our choosing, where it has such a setting and its provider takes them.
        calls_at_a_time: The most requests under way.
        timeout: Seconds for one request.
    """

    def __init__(self, model: BaseChatModel, *, calls_at_a_time: int, timeout: float) -> None:
        self._model = model
        self._slots = asyncio.Semaphore(calls_at_a_time)
        self._timeout = timeout
        self._secrets = secrets_of(model)
        self._hottest: float | None = None
        self._settable = True

    async def ask(self, prompt: Prompt, temperature: float | None) -> dict[str, Any]:
        """The answer as a JSON value: `text`, `tokens` as [read, written] or None, and `declined` if it is a refusal.

        Raises:
            NoAnswer: for every failure but a refusal.
        """
        try:
            async with self._slots:
                message = await self._at_accepted_temperature(prompt, temperature)
        except NoAnswer as failure:
            if failure.declined:
                return {"text": "", "tokens": None, "declined": failure.reason}
            raise
        usage = message.usage_metadata
        tokens = [usage["input_tokens"], usage["output_tokens"]] if usage else None
        if declined := refusal_of(message, who=_WHO):
            return {"text": "", "tokens": tokens, "declined": declined}
        return {"text": str(message.text), "tokens": tokens}

    async def _at_accepted_temperature(self, prompt: Prompt, temperature: float | None) -> AIMessage:
        while True:
            model = at_temperature(self._model, self._accepted(temperature))
            try:
                return await self._send(model, prompt)
            except NoAnswer as failure:
                if model is self._model or not failure.turns_down("temperature"):
                    raise
                self._turned_down(model)

    def _accepted(self, temperature: float | None) -> float | None:
        if temperature is None or not self._settable:
            return None
        return temperature if self._hottest is None else min(temperature, self._hottest)

    def _turned_down(self, model: BaseChatModel) -> None:
        """For good: first nothing above 1, then no temperature of ours at all."""
        if getattr(model, "temperature", 0.0) > _COMMON_MAXIMUM:
            self._hottest = _COMMON_MAXIMUM
        else:
            self._settable = False

    async def _send(self, model: BaseChatModel, prompt: Prompt) -> AIMessage:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                # In a context of its own: callbacks of a run around this one would see these calls as theirs.
                return await asyncio.create_task(model.ainvoke(_messages(prompt), _CONFIG), context=Context())
        except Exception as error:  # noqa: BLE001 - whatever a provider raises is a reason, never a crash
            raise self._failure(error, late=limit.expired()) from None

    def _failure(self, error: Exception, *, late: bool) -> NoAnswer:
        if late:
            return NoAnswer(f"the generator gave no answer within {self._timeout:g} s", retryable=True)
        return failure_of(error, self._secrets, who=_WHO, reads="prompt of description, seeds and examples")


def _messages(prompt: Prompt) -> list[BaseMessage]:
    user = HumanMessage(prompt.user)
    return [SystemMessage(prompt.system), user] if prompt.system else [user]
