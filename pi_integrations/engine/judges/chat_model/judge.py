"""The `chat` judge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from pi_integrations.engine.chat_models.asking import ChatModel, Form, Role
from pi_integrations.engine.chat_models.budget import Spending, checked_prices
from pi_integrations.engine.chat_models.failures import NoAnswer, side_by_side
from pi_integrations.engine.chat_models.fence import Prompt
from pi_integrations.engine.chat_models.models import chat_model_from_string
from pi_integrations.engine.chat_models.replies import was_cut_off
from pi_integrations.engine.judges.chat_model.prompt import PROMPT_VERSION, assemble
from pi_integrations.engine.judges.chat_model.readings import (
    ANSWERS_SCHEMA,
    CUT_OFF,
    Reading,
    read_answers,
    read_words,
    tokens_of,
)
from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.errors import PiUsageError

__all__ = ["ChatModelJudge"]

_log = logging.getLogger(__name__)

_ROLE = Role("judge model", reads="exchange", run="pi_judge", when_late="; raise the judge's timeout or try later")
_NO_LOGPROBS = "the judge model's answer carries no token log-probabilities"


class ChatModelJudge:
    """A judge that asks a LangChain chat model.

    The texts it judges stand in the prompt as data, inside a delimiter that is random per request and occurs in
    neither of them; the questions, which come from the spec, stand outside.

    Two readings make a score, and each verdict says which did:

    - `logprobs`: the model answers in words and the score is P(yes) / (P(yes) + P(no)) at the word's token. When one
      call asks several questions, later words are read given the earlier ones.
    - `structured`: the model writes an explanation and a probability, by `with_structured_output` where it has that,
      else as JSON text.

    The same exchange gets the same score as far as the model and its provider allow: temperature 0 is set where the
    model takes it, but the delimiter differs in every request and providers do not promise determinism.

    Args:
        model: A langchain-core chat model, or a string for `init_chat_model` such as "openai:gpt-4.1-mini".
        one_call_per_question: Asks each question in a call of its own, side by side, instead of all in one.
        reading: "logprobs", "structured", or "auto": log-probabilities if the first answer carries them, else
            structured, settled once per judge. Finding that there are none costs one call more.
        strict: Accept log-probabilities alone, unless `reading` is "structured". An answer without them raises
            instead of being read otherwise ("auto") or left unscored ("logprobs").
        timeout: Seconds to wait for one call to the model; None waits as long as the model does.
        prices: US dollars per million tokens, for the cost in `usage`.
        temperature: Sampling temperature; None keeps the model's own. Ignored by a model without that setting, and
            dropped for good when the provider turns it down; the fingerprint shows it.
        top_logprobs: How many likeliest tokens to ask for at each place, 2 to 20; not every provider gives more than 5.
        schema: Use the model's `with_structured_output` where it has one; False always asks for JSON text, for
            servers that take neither tools nor response formats.

    Raises:
        PiUsageError: when an argument is not one of the above.
        ImportError: when the package of a model given as a string is missing.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> answer = '{"answers": [{"question": 1, "explanation": "It greets.", "probability": 0.9}]}'
        >>> judge = ChatModelJudge(FakeListChatModel(responses=[answer]), reading="structured")
        >>> verdicts = asyncio.run(judge.answer(Exchange("Hi", "Hello!"), ["Is it polite?"]))
        >>> verdicts[0].score, verdicts[0].method, verdicts[0].explanation
        (0.9, 'structured', 'It greets.')
    """

    def __init__(
        self,
        model: BaseChatModel | str,
        *,
        one_call_per_question: bool = False,
        reading: Reading | Literal["auto"] = "auto",
        strict: bool = False,
        timeout: float | None = 60.0,
        prices: Mapping[str, float] | None = None,
        temperature: float | None = 0.0,
        top_logprobs: int = 5,
        schema: bool = True,
    ) -> None:
        _check(reading, timeout=timeout, top_logprobs=top_logprobs)
        chat_model = _chat_model(model)
        self._prices = checked_prices(prices)
        # Strict accepts no weaker reading, so there is nothing left to find out.
        self._settled: Reading | None = ("logprobs" if strict else None) if reading == "auto" else reading
        self._first_over: asyncio.Event | None = None
        self._strict = strict
        self._one_call_per_question = one_call_per_question
        self._temperature = temperature
        self._top_logprobs = top_logprobs
        self._form: Literal["schema", "json"] = "schema" if schema and _has_schema(chat_model) else "json"
        self._model = ChatModel(chat_model, _ROLE, timeout=timeout)

    @property
    def fingerprint(self) -> str:
        """Provider, model and settings, prompt version, calls and reading; no secrets.

        Under reading "auto" it says so until the first answer, and then the reading that was settled: the scores of
        the two readings are different scores.
        """
        calls = "each" if self._one_call_per_question else "together"
        return f"chat/{PROMPT_VERSION}:{self._identity};calls={calls};reading={self._reading()}"

    @property
    def _identity(self) -> str:
        return self._model.identity(self._temperature)

    def _reading(self) -> str:
        if self._settled == "logprobs":
            return f"logprobs-{self._top_logprobs}"
        if self._settled == "structured":
            return f"structured-{self._form}"
        return "auto"

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """One verdict per question, in their order; the first of each call carries the call's usage.

        Raises:
            PiUsageError: under `strict`, when the model gives no token log-probabilities.
        """
        if not questions:
            return []
        if not self._one_call_per_question:
            return await self._answer_together(exchange, questions)
        answers = await side_by_side(self._answer_together(exchange, [question]) for question in questions)
        return [verdicts[0] for verdicts in answers]

    async def aclose(self) -> None:
        """Nothing to release: the chat model belongs to the code that made it."""

    async def _answer_together(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        await self._wait_for_first()
        spending = Spending(self._prices)
        try:
            verdicts = None if self._settled == "structured" else await self._by_logprobs(exchange, questions, spending)
            if verdicts is None:
                verdicts = await self._by_structure(exchange, questions, spending)
        finally:
            if self._first_over is not None:
                self._first_over.set()
        return [replace(verdicts[0], usage=spending.usage()), *verdicts[1:]]

    async def _wait_for_first(self) -> None:
        """While the reading is open, one call finds out and those that start meanwhile wait for it.

        When it ends without a finding (it was refused, say), they continue side by side, each to find out for itself.
        """
        if self._settled is None and self._first_over is not None:
            await self._first_over.wait()
        elif self._settled is None:
            self._first_over = asyncio.Event()

    def _settle(self, reading: Reading) -> Reading:
        """Fixes the reading for as long as the judge exists and returns the one in force: the first finding stands."""
        if self._settled is None:
            self._settled = reading
            _log.info("judge %s: reading %s", self._identity, reading)
        return self._settled

    async def _by_logprobs(
        self, exchange: Exchange, questions: Sequence[str], spending: Spending
    ) -> list[Verdict] | None:
        """Verdicts from log-probabilities; None when there are none and the reading may be another."""
        prompt = assemble(exchange, questions, "words")
        try:
            message = await self._message(prompt, self._with_logprobs, spending)
        except NoAnswer as failure:
            if not failure.turns_down("(top_)?logprobs"):
                return _unscored(failure, "logprobs", questions)
            return self._without_logprobs(failure.reason, questions)
        if tokens := tokens_of(message):
            reading = self._settle("logprobs")
            # A call beside this one may have settled on "structured"; then this one is asked again that way.
            return read_words(message, tokens, len(questions)) if reading == "logprobs" else None
        # An answer that is not whole is no evidence that the model gives none.
        if was_cut_off(message):
            return _unscored(NoAnswer(CUT_OFF), "logprobs", questions)
        return self._without_logprobs(_NO_LOGPROBS, questions)

    def _with_logprobs(self, model: BaseChatModel) -> Runnable[Any, Any]:
        return model.bind(logprobs=True, top_logprobs=self._top_logprobs)

    def _without_logprobs(self, reason: str, questions: Sequence[str]) -> list[Verdict] | None:
        remedy = 'use a model that returns them, or reading="structured"'
        if self._strict:
            raise PiUsageError(f"{reason}; strict takes no other reading: {remedy}") from None
        if self._settled == "logprobs":
            return _unscored(NoAnswer(f"{reason}; {remedy}"), "logprobs", questions)
        return None

    async def _by_structure(self, exchange: Exchange, questions: Sequence[str], spending: Spending) -> list[Verdict]:
        prompt = assemble(exchange, questions, self._form)
        try:
            message = await self._message(prompt, _with_schema if self._form == "schema" else None, spending)
        except NoAnswer as failure:
            return _unscored(failure, "structured", questions)
        if was_cut_off(message):
            return _unscored(NoAnswer(CUT_OFF), "structured", questions)
        if self._settle("structured") == "logprobs":
            return _unscored(NoAnswer(f"{_NO_LOGPROBS}, as another's did"), "logprobs", questions)
        return read_answers(message, len(questions))

    async def _message(self, prompt: Prompt, form: Form | None, spending: Spending) -> AIMessage:
        reply = await self._model.ask(prompt, temperature=self._temperature, form=form, spending=spending)
        if reply.message is None or reply.declined:
            raise NoAnswer(reply.declined or reply.too_long or "")
        return reply.message


def _unscored(failure: NoAnswer, reading: Reading, questions: Sequence[str]) -> list[Verdict]:
    # A body of another form than the provider's own is rather a wrong address than a fault that passes.
    retryable = failure.retryable and failure.tries is None
    return [Verdict.unscored(failure.reason, method=reading, retryable=retryable)] * len(questions)


def _has_schema(model: BaseChatModel) -> bool:
    try:
        # Every chat model has the method; whether it is implemented shows only when it is called.
        _with_schema(model)
    except NotImplementedError:
        return False
    return True


def _with_schema(model: BaseChatModel) -> Runnable[Any, Any]:
    # The raw message: `read_answers` keeps what is readable where a parser would give up the whole.
    return model.with_structured_output(ANSWERS_SCHEMA, include_raw=True)


def _chat_model(model: BaseChatModel | str) -> BaseChatModel:
    if isinstance(model, str):
        return chat_model_from_string(model)
    if not isinstance(model, BaseChatModel):
        raise PiUsageError(
            "a chat judge needs a LangChain chat model or a string such as 'openai:gpt-4.1-mini', not "
            f"{type(model).__name__}"
        )
    return model


def _check(reading: str, *, timeout: float | None, top_logprobs: int) -> None:
    if reading not in ("auto", "logprobs", "structured"):
        raise PiUsageError(f'reading is "auto", "logprobs" or "structured", not {reading!r}')
    if timeout is not None and not timeout > 0:
        raise PiUsageError(f"timeout is a number of seconds above 0, not {timeout}")
    # One place cannot hold both words, and OpenAI takes no more than 20.
    if not 2 <= top_logprobs <= 20:
        raise PiUsageError(f"top_logprobs lies in 2 to 20, not {top_logprobs}")
