"""A chat model made ready to judge: temperature, the two ways to ask it, its identity and its secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig

from pi_integrations.engine.chat_models.failures import redacted, shorten
from pi_integrations.engine.chat_models.fence import Prompt
from pi_integrations.engine.chat_models.settings import at_temperature, secrets_of
from pi_integrations.engine.judges.chat_model.answers import ANSWERS_SCHEMA
from pi_integrations.errors import PiUsageError

__all__ = ["JudgeModel", "chat_model_from_string"]

_CONFIG = RunnableConfig(run_name="pi_judge")
# What else of a chat model's settings moves its answers; in the fingerprint when set.
_SETTINGS = ("top_p", "top_k", "seed", "max_tokens", "reasoning_effort", "effort", "num_ctx")
_ENDPOINTS = ("openai_api_base", "azure_endpoint", "base_url", "endpoint_url", "anthropic_api_url")


def chat_model_from_string(name: str, **settings: Any) -> BaseChatModel:
    """The chat model of a string such as "openai:gpt-4.1-mini", by `langchain.chat_models.init_chat_model`.

    `settings` go to the model's constructor. Keys come from where the provider's package looks for them.

    Raises:
        ImportError: when LangChain or the provider's package is missing; it gives the pip command.
        PiUsageError: when the provider is unknown or the model cannot be made, for want of a key for example.
    """
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise ImportError(f'chat model {name!r} needs LangChain: pip install "pi-integrations[chat]"') from error
    try:
        model: BaseChatModel = init_chat_model(name, **settings)
    except ImportError as error:
        raise ImportError(f"chat model {name!r} needs its provider's package: {error}") from error
    except Exception as error:  # noqa: BLE001 - whatever a constructor raises, the configuration is wrong
        given = [value for value in settings.values() if isinstance(value, str) and len(value) > 7]
        reason = shorten(redacted(str(error), given)).rstrip(".")
        raise PiUsageError(
            f"chat model {name!r} cannot be made: {reason}. Use PROVIDER:MODEL, such as "
            '"openai:gpt-4.1-mini", and set the provider\'s API key in its environment variable.'
        ) from None
    return model


class JudgeModel:
    """A chat model with its two ways of answering."""

    def __init__(self, model: BaseChatModel, *, top_logprobs: int, schema: bool) -> None:
        self._model = model
        self._top_logprobs = top_logprobs
        self._schema = schema
        self._words = model.bind(logprobs=True, top_logprobs=top_logprobs)
        self._answers = _structured(model) if schema else None

    def at_temperature(self, temperature: float | None) -> JudgeModel:
        """The same model at this temperature; itself when that is None, in use already, or no setting of the model."""
        copy = at_temperature(self._model, temperature)
        if copy is self._model:
            return self
        return JudgeModel(copy, top_logprobs=self._top_logprobs, schema=self._schema)

    @property
    def form(self) -> Literal["schema", "json"]:
        """How `answers` is asked: held to a schema where the model supports one, else JSON text."""
        return "json" if self._answers is None else "schema"

    async def words(self, prompt: Prompt) -> AIMessage:
        """The answer with the log-probabilities of its tokens, if the provider sends them."""
        return _message(await self._words.ainvoke(_messages(prompt), _CONFIG))

    async def answers(self, prompt: Prompt) -> AIMessage:
        """The answer in the schema of `ANSWERS_SCHEMA` or as JSON text, by `form`."""
        if self._answers is None:
            return _message(await self._model.ainvoke(_messages(prompt), _CONFIG))
        return _message((await self._answers.ainvoke(_messages(prompt), _CONFIG))["raw"])

    @property
    def identity(self) -> str:
        """Provider, model, class and the settings that move its answers; no secrets and no addresses."""
        told = self._model._get_ls_params()
        name = (
            told.get("ls_model_name") or getattr(self._model, "model_name", None) or getattr(self._model, "model", "")
        )
        parts = [f"{told.get('ls_provider', '')}:{name}", f"class={type(self._model).__name__}"]
        parts.append(f"temperature={_shown(getattr(self._model, 'temperature', None))}")
        parts += [f"{field}={value}" for field in _SETTINGS if (value := getattr(self._model, field, None)) is not None]
        parts += [f"endpoint={_digest(address)}" for address in _addresses(self._model)]
        return ";".join(parts)

    @property
    def secrets(self) -> list[str]:
        """The values that must not appear in a message."""
        return secrets_of(self._model)


def _structured(model: BaseChatModel) -> Runnable[Any, Any] | None:
    try:
        return model.with_structured_output(ANSWERS_SCHEMA, include_raw=True)
    except NotImplementedError:
        return None


def _messages(prompt: Prompt) -> list[SystemMessage | HumanMessage]:
    return [SystemMessage(prompt.system), HumanMessage(prompt.user)]


def _message(answer: Any) -> AIMessage:
    if not isinstance(answer, AIMessage):
        raise TypeError(f"a chat model answers with an AIMessage, not {type(answer).__name__}")
    return answer


def _addresses(model: BaseChatModel) -> Iterator[str]:
    for field in _ENDPOINTS:
        if isinstance(address := getattr(model, field, None), str) and address:
            yield address


def _digest(address: str) -> str:
    """Tells servers apart without telling where they are, whatever user or password the address carries."""
    parts = urlsplit(address)
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def _shown(temperature: Any) -> str:
    return "default" if temperature is None else f"{temperature:g}"
