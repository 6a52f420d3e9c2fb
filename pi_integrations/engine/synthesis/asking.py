"""One request to the generator: temperature, token limit, time limit, and failures as reasons."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from pi_integrations.engine.chat_models.ending import refusal_of, was_cut_off
from pi_integrations.engine.chat_models.failures import NoAnswer, failure_of, is_misread
from pi_integrations.engine.chat_models.fence import Prompt
from pi_integrations.engine.chat_models.own_threads import CallThreads, is_synchronous
from pi_integrations.engine.chat_models.settings import at_most, at_temperature, limits_answers, secrets_of
from pi_integrations.engine.synthesis.items import well_formed

__all__ = ["Generator"]

_WHO = "generator"
_CONFIG = RunnableConfig(run_name="pi_generator")
# Some providers end at 1, and some take no temperature.
_COMMON_MAXIMUM = 1.0
_TRIES_OF_MISREAD = 4
_LIMIT_NAMES = r"max\w*_?tokens|num_predict"


class Generator:
    """A chat model that is asked for items, shared by all jobs of a process.

    Args:
        model: Asked at temperatures of our choosing, where it has such a setting and its provider takes them. One that
            can only be called synchronously is called in threads of its own.
        calls_at_a_time: The most requests under way.
        timeout: Seconds for one request.
    """

    def __init__(self, model: BaseChatModel, *, calls_at_a_time: int, timeout: float) -> None:
        self._model = model
        self._slots = asyncio.Semaphore(calls_at_a_time)
        self._timeout = timeout
        self._secrets = secrets_of(model)
        self._threads = CallThreads() if is_synchronous(model) else None
        self._hottest: float | None = None
        self._settable = True
        self._limit_refused: int | None = None

    @property
    def limits_answers(self) -> bool:
        """Whether the model can be told how long an answer may be."""
        return limits_answers(self._model)

    async def ask(self, prompt: Prompt, temperature: float | None, most: int | None = None) -> dict[str, Any]:
        """The answer as a JSON value, of at most `most` tokens where the model has such a setting.

        Its fields: `text`; `tokens` as [read, written] or None; `temperature`, the one it was made at, if known;
        `declined`, the reason, if it is a refusal; `too_long`, the reason, if the prompt is more than the model reads;
        `cut`, true if the answer stopped at a limit on tokens. A request that was turned down has [0, 0] tokens.

        Raises:
            NoAnswer: for every other failure.
        """
        try:
            async with self._slots:
                message, used = await self._accepted_message(prompt, temperature, most)
        except NoAnswer as failure:
            if failure.declined or failure.too_long:
                why = "declined" if failure.declined else "too_long"
                return {"text": "", "tokens": [0, 0], why: failure.reason}
            raise
        usage = message.usage_metadata
        tokens = [usage["input_tokens"], usage["output_tokens"]] if usage else None
        if declined := refusal_of(message, who=_WHO):
            return {"text": "", "tokens": tokens, "temperature": used, "declined": declined}
        cut = {"cut": True} if was_cut_off(message) else {}
        return {"text": well_formed(str(message.text)), "tokens": tokens, "temperature": used, **cut}

    async def _accepted_message(
        self, prompt: Prompt, temperature: float | None, most: int | None
    ) -> tuple[AIMessage, float | None]:
        """The answer at settings that the provider takes, and its temperature."""
        while True:
            model = at_temperature(self._model, self._accepted(temperature))
            limited = at_most(model, self._accepted_limit(most))
            try:
                return await self._send(limited, prompt), getattr(model, "temperature", None)
            except NoAnswer as failure:
                if limited is not model and (failure.too_long or failure.turns_down(_LIMIT_NAMES)):
                    # More than the model can write: its own limit is lower, and holds without ours.
                    self._limit_refused, most = (self._limit_refused if failure.too_long else most), None
                elif model is self._model or not failure.turns_down("temperature"):
                    raise
                else:
                    self._turned_down(model)

    def _accepted_limit(self, most: int | None) -> int | None:
        # Limits near one that was refused are not tried, so that few requests are made in vain.
        if most is None or (self._limit_refused is not None and most > self._limit_refused // 2):
            return None
        return most

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
                return await self._invoked(model, _messages(prompt))
        except NoAnswer:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a provider raises is a reason, never a crash
            raise self._failure(error, late=limit.expired()) from None

    async def _invoked(self, model: BaseChatModel, messages: list[BaseMessage]) -> AIMessage:
        # In a context of its own, as a thread has: callbacks of a run around this one would see these calls as theirs.
        if self._threads is not None:
            return await self._threads.run(lambda: model.invoke(messages, _CONFIG))
        return await asyncio.create_task(model.ainvoke(messages, _CONFIG), context=Context())

    def _failure(self, error: Exception, *, late: bool) -> NoAnswer:
        if late:
            return NoAnswer(f"the generator gave no answer within {self._timeout:g} s", retryable=True)
        failure = failure_of(error, self._secrets, who=_WHO, reads="prompt of description, seeds and examples")
        explained = failure.retryable or failure.declined or failure.too_long
        if is_misread(error) and not (explained or failure.turns_down(f"temperature|{_LIMIT_NAMES}")):
            reason = f"{failure.reason} (its provider sent an answer of a form that cannot be read)"
            return NoAnswer(reason, retryable=True, tries=_TRIES_OF_MISREAD)
        return failure


def _messages(prompt: Prompt) -> list[BaseMessage]:
    user = HumanMessage(well_formed(prompt.user))
    return [SystemMessage(well_formed(prompt.system)), user] if prompt.system else [user]
