"""A chat model made ready to judge: temperature, the two ways to ask it, its identity and its secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import SecretStr

from pi_integrations.engine.judges.chat_model.answers import ANSWERS_SCHEMA
from pi_integrations.engine.judges.chat_model.failures import redacted
from pi_integrations.engine.judges.chat_model.prompt import Prompt
from pi_integrations.errors import PiUsageError

__all__ = ["JudgeModel", "chat_model_from_string"]

# Overrides the callbacks of a surrounding run: a handler that scores what an application does must not see, and
# score, the judge's own calls.
_CONFIG = RunnableConfig(callbacks=[], run_name="pi_judge")
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
        return init_chat_model(name, **settings)
    except ImportError as error:
        raise ImportError(f"chat model {name!r} needs its provider's package: {error}") from error
    except Exception as error:
        # Whatever a provider's constructor raises, it is the configuration that is wrong.
        reason = redacted(str(error), [value for value in settings.values() if isinstance(value, str)])
        raise PiUsageError(
            f'chat model {name!r} cannot be made: {reason} Use PROVIDER:MODEL, such as "openai:gpt-4.1-mini", and '
            "set the provider's API key in its environment variable."
        ) from None


class JudgeModel:
    """A chat model with a temperature that it accepts."""

    def __init__(self, model: BaseChatModel, *, temperature: float | None, top_logprobs: int, schema: bool) -> None:
        self._given = model
        self._top_logprobs = top_logprobs
        self._schema = schema
        self._use(_with_temperature(model, temperature))

    def _use(self, model: BaseChatModel) -> None:
        self._model = model
        self._words: Runnable[Any, Any] = model.bind(logprobs=True, top_logprobs=self._top_logprobs)
        self._answers = _structured(model) if self._schema else None

    @property
    def has_schema(self) -> bool:
        """Whether answers can be held to a schema; else JSON is asked for in words."""
        return self._answers is not None

    async def words(self, prompt: Prompt) -> AIMessage:
        """The answer with the log-probabilities of its tokens, if the provider sends them."""
        return _message(await self._words.ainvoke(_messages(prompt), _CONFIG))

    async def answers(self, prompt: Prompt) -> AIMessage:
        """The answer, in the schema of `ANSWERS_SCHEMA` where the model supports one."""
        if self._answers is None:
            return _message(await self._model.ainvoke(_messages(prompt), _CONFIG))
        return _message((await self._answers.ainvoke(_messages(prompt), _CONFIG))["raw"])

    def drop_temperature(self) -> bool:
        """Goes back to the temperature of the model as it was given; False when that is in use already."""
        changed = self._model is not self._given
        self._use(self._given)
        return changed

    @property
    def identity(self) -> str:
        """Provider, model, class and the settings that move its answers; no secrets and no addresses."""
        told = self._model._get_ls_params()
        name = told.get("ls_model_name") or getattr(self._model, "model_name", None) or getattr(self._model, "model", "")
        parts = [f"{told.get('ls_provider', '')}:{name}", f"class={type(self._model).__name__}"]
        parts.append(f"temperature={_shown(getattr(self._model, 'temperature', None))}")
        parts += [f"{field}={value}" for field in _SETTINGS if (value := getattr(self._model, field, None)) is not None]
        parts += [f"endpoint={_digest(address)}" for address in _addresses(self._model)]
        return ";".join(parts)

    @property
    def secrets(self) -> list[str]:
        """The values that must not appear in a message."""
        held = vars(self._model).values()
        return [value.get_secret_value() for value in held if isinstance(value, SecretStr) and value.get_secret_value()]


def _with_temperature(model: BaseChatModel, temperature: float | None) -> BaseChatModel:
    if temperature is None or "temperature" not in type(model).model_fields:
        return model
    # `with_structured_output` takes no run-time settings along, so the setting goes into a copy of the model.
    return model if getattr(model, "temperature", None) == temperature else model.model_copy(
        update={"temperature": temperature}
    )


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
