"""Asks LangChain models: settings that the provider accepts, limits of time and number, and failures as reasons."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig

from pi_integrations.engine.chat_models.budget import Spending
from pi_integrations.engine.chat_models.failures import LIMIT_PARAMETERS, REQUEST_PARAMETERS, NoAnswer, failure_of
from pi_integrations.engine.chat_models.fence import Prompt
from pi_integrations.engine.chat_models.models import (
    at_most,
    at_temperature,
    identity_of,
    limits_answers,
    secrets_of,
)
from pi_integrations.engine.chat_models.replies import refusal_of, was_cut_off
from pi_integrations.telemetry import switched, tracing_switches

__all__ = ["ChatModel", "Embedder", "Form", "Reply", "Role", "Vectors", "decoded"]

T = TypeVar("T")
Vectors = dict[str, Sequence[float]]
"""Embeddings by text."""

Form = Callable[[BaseChatModel], Runnable[Any, Any]]
"""Makes the runnable that is asked from a model at its settings, such as one with structured output."""
# The most that some providers take, where others take 2.
_COMMON_MAXIMUM = 1.0


@dataclass(frozen=True, slots=True)
class Role:
    """How a model's part is named.

    Attributes:
        name: In reasons, such as "judge model".
        reads: What it reads, in reasons, such as "exchange".
        run: Name and tag of its runs in a trace, such as "pi_judge".
        when_late: Ends the reason of a request that timed out.
    """

    name: str
    reads: str
    run: str
    when_late: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Attributes:
        text: What the model wrote; empty when it declined.
        tokens: Tokens read and written; None when the provider does not report them.
        temperature: At which it was written, where known.
        declined: Why the model or its provider declined, if so.
        too_long: Why the prompt is more than the model reads, if so.
        cut: Whether the reply stopped at a limit on tokens.
        message: As it came; None when the provider turned the prompt down.
    """

    text: str = ""
    tokens: Sequence[int] | None = None
    temperature: float | None = None
    declined: str | None = None
    too_long: str | None = None
    cut: bool = False
    message: AIMessage | None = None


class ChatModel:
    """Asks a LangChain chat model.

    Requests run outside the caller's context: callbacks and token counters of a run around one would take it for the
    application's, and a handler that scores every model call would score these without end. Of tracing, what the caller
    has switched off stays off. A model that can only be called synchronously runs on the event loop's default threads;
    a request that timed out there keeps its thread until it returns.

    Args:
        model: The model; it stays as it is.
        role: How it is named.
        timeout: Seconds for one request; None waits as long as the model does.
        max_concurrency: Requests under way at a time; None for no limit.
    """

    def __init__(
        self, model: BaseChatModel, role: Role, *, timeout: float | None, max_concurrency: int | None = None
    ) -> None:
        self._model = model
        self._role = role
        self._timeout = timeout
        self._slots: AbstractAsyncContextManager[Any] = (
            nullcontext() if max_concurrency is None else asyncio.Semaphore(max_concurrency)
        )
        self._secrets = secrets_of(model)
        # What the provider has shown it accepts; -inf for no temperature of ours.
        self._max_temperature = self._max_limit = math.inf

    @property
    def limits_answers(self) -> bool:
        """Whether the model can be told how long an answer may be."""
        return limits_answers(self._model)

    def identity(self, temperature: float | None) -> str:
        """Provider, model, class and settings of the model as it is asked at `temperature`; no secrets."""
        return identity_of(at_temperature(self._model, _accepted(temperature, self._max_temperature)))

    async def ask(
        self,
        prompt: Prompt,
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        form: Form | None = None,
        spending: Spending | None = None,
    ) -> Reply:
        """The model's reply.

        Args:
            prompt: What it is asked.
            temperature: Where the model has that setting; lowered to 1, and then dropped for good, when the provider
                turns it down. None for the model's own.
            max_tokens: The longest answer, where the model has that setting and the provider accepts it.
            form: How the model is asked; default plainly.
            spending: Counts the requests.

        Raises:
            NoAnswer: for every failure but a text that was declined or is too long.
        """
        hottest, longest = self._max_temperature, self._max_limit
        while True:
            model = at_temperature(self._model, _accepted(temperature, hottest))
            limited = at_most(model, max_tokens if (max_tokens or 0) <= longest else None)
            try:
                message = await self._send(limited, prompt, form)
                break
            except NoAnswer as failure:
                if spending is not None:
                    spending.add((0, 0) if failure.turns_down(REQUEST_PARAMETERS) else None)
                if limited is not model and (failure.too_long or failure.turns_down(LIMIT_PARAMETERS)):
                    # More than the model can write: its own limit is lower, and holds without ours. Limits near one
                    # that was turned down are not tried either, so that few requests are made in vain.
                    longest = longest if failure.too_long else (max_tokens or 0) // 2
                    max_tokens = None
                elif model is not self._model and failure.turns_down("temperature"):
                    hottest = _COMMON_MAXIMUM if getattr(model, "temperature", 0.0) > _COMMON_MAXIMUM else -math.inf
                elif failure.declined:
                    return Reply(tokens=(0, 0), declined=failure.reason)
                elif failure.too_long:
                    return Reply(tokens=(0, 0), too_long=failure.reason)
                else:
                    raise
        # Only now: a failure may name a parameter for another reason.
        self._max_temperature = min(self._max_temperature, hottest)
        self._max_limit = min(self._max_limit, longest)
        usage = message.usage_metadata
        tokens = (usage["input_tokens"], usage["output_tokens"]) if usage else None
        if spending is not None:
            spending.add(tokens)
        declined, used = refusal_of(message, who=self._role.name), getattr(model, "temperature", None)
        text = "" if declined else str(message.text)
        return Reply(text, tokens, used, declined, cut=was_cut_off(message), message=message)

    async def _send(self, model: BaseChatModel, prompt: Prompt, form: Form | None) -> AIMessage:
        config = RunnableConfig(run_name=self._role.run, tags=[self._role.run])
        user = HumanMessage(prompt.user)
        messages: list[BaseMessage] = [SystemMessage(prompt.system), user] if prompt.system else [user]

        async def send() -> Any:
            asked = form(model) if form else model
            return await asked.ainvoke(messages, config)

        async with self._slots:
            answer = await _asked(send, self._role, self._timeout, self._secrets)
        message = answer.get("raw") if isinstance(answer, Mapping) else answer
        if not isinstance(message, AIMessage):
            raise NoAnswer(f"the {self._role.name} gave a {type(message).__name__} where an AIMessage is due")
        return message


class Embedder:
    """Asks a LangChain embeddings model.

    Args:
        embeddings: The model.
        timeout: Seconds for one request.
    """

    _ROLE = Role("embeddings model", reads="input", run="pi_embeddings")

    def __init__(self, embeddings: Embeddings, *, timeout: float) -> None:
        self._embeddings = embeddings
        self._timeout = timeout

    async def embed(self, texts: list[str]) -> dict[str, str]:
        """The vectors by text, as base64 of float32: a form that can be recorded, and that `decoded` reads.

        Raises:
            NoAnswer: for every failure.
        """
        vectors = await _asked(lambda: self._embeddings.aembed_documents(texts), self._ROLE, self._timeout)
        if len(vectors) != len(texts):
            raise NoAnswer(f"the embeddings model gave {len(vectors)} vectors for {len(texts)} texts")
        return {text: _encoded(vector) for text, vector in zip(texts, vectors, strict=True)}


def _encoded(vector: Sequence[float]) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def decoded(recorded: Mapping[str, str]) -> Vectors:
    """The vectors that `Embedder.embed` encoded."""
    return {text: np.frombuffer(base64.b64decode(code), dtype="<f4").tolist() for text, code in recorded.items()}


async def _asked(call: Callable[[], Awaitable[T]], role: Role, timeout: float | None, secrets: Sequence[str] = ()) -> T:
    """What `call` returns in an empty context, but for what the caller has switched off in tracing.

    Raises:
        NoAnswer: for every failure.
    """
    switches = tracing_switches()

    async def run() -> T:
        with switched(switches):
            return await call()

    try:
        async with asyncio.timeout(timeout) as limit:
            return await asyncio.create_task(run(), context=Context())
    except Exception as error:  # noqa: BLE001 - whatever a provider raises is a reason, never a crash
        if limit.expired():
            late = f"the {role.name} gave no answer within {timeout:g} s{role.when_late}"
            raise NoAnswer(late, retryable=True) from None
        raise failure_of(error, secrets, who=role.name, reads=role.reads) from None


def _accepted(temperature: float | None, highest: float) -> float | None:
    return None if temperature is None or highest < 0 else min(temperature, highest)
