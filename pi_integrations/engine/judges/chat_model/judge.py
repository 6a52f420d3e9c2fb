"""The `chat` judge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from pi_integrations.engine.judges.chat_model.answers import read_answers
from pi_integrations.engine.judges.chat_model.choice import Reading, ReadingChoice, SettledReading
from pi_integrations.engine.judges.chat_model.ending import CUT_OFF, refusal_of, was_cut_off
from pi_integrations.engine.judges.chat_model.failures import NoAnswer, failure_of
from pi_integrations.engine.judges.chat_model.model import JudgeModel, chat_model_from_string
from pi_integrations.engine.judges.chat_model.prompt import PROMPT_VERSION, Prompt, assemble
from pi_integrations.engine.judges.chat_model.usage import Bill, checked_prices
from pi_integrations.engine.judges.chat_model.words import read_words, tokens_of
from pi_integrations.engine.judges.protocol import Exchange, Verdict
from pi_integrations.errors import PiUsageError

__all__ = ["ChatModelJudge"]

_NO_LOGPROBS = "the judge model's answer carries no token log-probabilities"


class ChatModelJudge:
    """A judge that asks a LangChain chat model.

    The texts it judges stand in the prompt as data, inside a delimiter that is random per request and occurs in
    neither of them; the questions, which come from the spec, stand outside.

    Two readings make a score, and each verdict says which did:

    - `logprobs`: the model answers in words and the score is P(yes) / (P(yes) + P(no)) at the word's token. When one
      call asks several questions, later words are read given the earlier ones.
    - `structured`: the model writes a probability and an explanation, by `with_structured_output` where it has that,
      else as JSON text.

    The same exchange gets the same score as far as the model and its provider allow: temperature 0 is set where the
    model takes it, but the delimiter differs in every request and providers do not promise determinism.

    Args:
        model: A langchain-core chat model, or a string for `init_chat_model` such as "openai:gpt-4.1-mini".
        one_call_per_question: Asks each question in a call of its own, side by side, instead of all in one.
        reading: "logprobs", "structured", or "auto": log-probabilities if the first answer carries them, else
            structured, settled once for the judge's life. Finding that there are none costs one call more.
        strict: Accept log-probabilities alone. An answer without them raises instead of being read otherwise
            ("auto") or left unscored ("logprobs").
        timeout: Seconds to wait for one call to the model; None waits as long as the model does.
        prices: US dollars per million tokens, for the cost in `usage`.
        temperature: Sampling temperature; None keeps the model's own. Ignored by a model without that setting, and
            dropped for good when the provider turns it down; the fingerprint tells.
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
        reading: Reading = "auto",
        strict: bool = False,
        timeout: float | None = 60.0,
        prices: Mapping[str, float] | None = None,
        temperature: float | None = 0.0,
        top_logprobs: int = 5,
        schema: bool = True,
    ) -> None:
        if isinstance(model, str):
            model = chat_model_from_string(model)
        _check(model, timeout=timeout, top_logprobs=top_logprobs)
        self._model = JudgeModel(model, temperature=temperature, top_logprobs=top_logprobs, schema=schema)
        self._choice = ReadingChoice(reading, strict=strict)
        self._strict = strict and reading != "structured"
        self._one_call_per_question = one_call_per_question
        self._timeout = timeout
        self._prices = checked_prices(prices)
        self._top_logprobs = top_logprobs

    @property
    def fingerprint(self) -> str:
        """Provider, model and settings, prompt version, calls and reading; no secrets.

        Under reading "auto" it says so until the first answer, and then the reading that was settled: the scores of
        the two readings are different scores.
        """
        calls = "each" if self._one_call_per_question else "together"
        return f"chat/{PROMPT_VERSION}:{self._model.identity};calls={calls};reading={self._reading_shown()}"

    def _reading_shown(self) -> str:
        if self._choice.settled == "logprobs":
            return f"logprobs-{self._top_logprobs}"
        if self._choice.settled == "structured":
            return f"structured-{self._form()}"
        return "auto"

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """One verdict per question, in their order; the first of each call carries its usage.

        Raises:
            PiUsageError: under `strict`, when the model gives no token log-probabilities.
        """
        if not questions:
            return []
        if not self._one_call_per_question:
            return await self._call(exchange, questions)
        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(self._call(exchange, [question])) for question in questions]
        except* PiUsageError as errors:
            first = errors.exceptions[0]
        else:
            return [call.result()[0] for call in calls]
        raise first

    async def aclose(self) -> None:
        """Nothing to release: the chat model belongs to whoever made it."""

    async def _call(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        bill = Bill(self._prices)
        async with self._choice.turn() as reading:
            try:
                verdicts = await self._read(reading, exchange, questions, bill)
            except NoAnswer as failure:
                method = self._choice.settled or "logprobs"
                unscored = Verdict.unscored(failure.reason, method=method, retryable=failure.retryable)
                verdicts = [unscored] * len(questions)
        return [replace(verdicts[0], usage=bill.usage()), *verdicts[1:]]

    async def _read(
        self, reading: SettledReading | None, exchange: Exchange, questions: Sequence[str], bill: Bill
    ) -> list[Verdict]:
        if reading != "structured":
            verdicts = await self._read_words(reading, exchange, questions, bill)
            if verdicts is not None:
                return verdicts
        message = await self._ask(self._model.answers, assemble(exchange, questions, self._form()), bill)
        if was_cut_off(message):
            raise NoAnswer(CUT_OFF)
        return read_answers(message, len(questions))

    async def _read_words(
        self, reading: SettledReading | None, exchange: Exchange, questions: Sequence[str], bill: Bill
    ) -> list[Verdict] | None:
        """Verdicts from log-probabilities; None once the structured reading is settled for want of them."""
        try:
            message = await self._ask(self._model.words, assemble(exchange, questions, "words"), bill)
        except NoAnswer as failure:
            if not failure.names("logprobs"):
                raise
            return self._without_logprobs(reading, failure.reason)
        if tokens := tokens_of(message):
            self._choice.settle("logprobs", self._model.identity)
            return read_words(message, tokens, len(questions))
        if was_cut_off(message):
            raise NoAnswer(CUT_OFF)
        return self._without_logprobs(reading, _NO_LOGPROBS)

    def _without_logprobs(self, reading: SettledReading | None, reason: str) -> None:
        if self._strict:
            raise PiUsageError(
                f'{reason}; strict accepts nothing else. Use a model that returns them, or reading="structured".'
            )
        if reading == "logprobs":
            raise NoAnswer(f'{reason}; use a model that returns them, or reading="structured"')
        self._choice.settle("structured", self._model.identity)

    def _form(self) -> Literal["schema", "json"]:
        return "schema" if self._model.has_schema else "json"

    async def _ask(self, send: Callable[[Prompt], Awaitable[AIMessage]], prompt: Prompt, bill: Bill) -> AIMessage:
        """The model's answer, unless it refused; asked once more when the provider takes no temperature."""
        try:
            message = await self._send(send, prompt, bill)
        except NoAnswer as failure:
            if not (failure.names("temperature") and self._model.drop_temperature()):
                raise
            message = await self._send(send, prompt, bill)
        if refusal := refusal_of(message):
            raise NoAnswer(refusal)
        return message

    async def _send(self, send: Callable[[Prompt], Awaitable[AIMessage]], prompt: Prompt, bill: Bill) -> AIMessage:
        bill.call()
        try:
            async with asyncio.timeout(self._timeout):
                message = await send(prompt)
        except TimeoutError:
            reason = f"the judge model gave no answer within {self._timeout} s; raise the judge's timeout or try later"
            raise NoAnswer(reason, retryable=True) from None
        except Exception as error:  # noqa: BLE001 - any provider's exception is a reason, never a crash
            raise failure_of(error, self._model.secrets) from None
        bill.answered(message)
        return message


def _check(model: object, *, timeout: float | None, top_logprobs: int) -> None:
    if not isinstance(model, BaseChatModel):
        raise PiUsageError(
            f"a chat judge needs a LangChain chat model, or a string such as 'openai:gpt-4.1-mini', not "
            f"{type(model).__name__}"
        )
    if timeout is not None and not timeout > 0:
        raise PiUsageError(f"timeout is a number of seconds above 0, not {timeout}")
    if not 2 <= top_logprobs <= 20:
        raise PiUsageError(f"top_logprobs lies in 2 to 20, not {top_logprobs}")
