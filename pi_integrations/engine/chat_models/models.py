"""LangChain models as an operator names them, and what is set on one: temperature, limits, identity, secrets."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from pi_integrations.engine.chat_models.failures import redacted, shorten
from pi_integrations.engine.named_object import PREFIX, named_object
from pi_integrations.errors import PiUsageError

__all__ = [
    "at_most",
    "at_temperature",
    "chat_model_from_string",
    "choose_chat_model",
    "choose_embeddings",
    "identity_of",
    "limits_answers",
    "secrets_of",
]

_WAYS = "give chat:PROVIDER:MODEL, object:MODULE:NAME of a LangChain chat model, or a LangChain chat model"
# The same setting at different providers.
_LIMITS = ("max_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
# What else of a chat model's settings moves its answers; in the identity when set.
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


def choose_chat_model(given: Any, setting: str = "generator") -> BaseChatModel:
    """The chat model that `given`, the value of a `setting`, names or is.

    Raises:
        PiUsageError: when it is none.
        ImportError: when its package is not installed.
    """
    if isinstance(given, str) and given.startswith("chat:") and given != "chat:":
        return chat_model_from_string(given.removeprefix("chat:"))
    if isinstance(given, str) and given.startswith(PREFIX):
        given = _made(named_object(given, setting), BaseChatModel)
    if isinstance(given, BaseChatModel):
        return given
    shown = repr(given) if isinstance(given, str) else f"a {type(given).__name__}"
    raise PiUsageError(f"{setting} is {shown}; {_WAYS}")


def choose_embeddings(given: Any, setting: str = "generator_embeddings") -> Embeddings | None:
    """The LangChain embeddings that `given`, the value of a `setting`, names or is; None for none.

    Raises:
        PiUsageError: when it is something else.
    """
    if isinstance(given, str) and given.startswith(PREFIX):
        given = _made(named_object(given, setting), Embeddings)
    if given is None or isinstance(given, Embeddings):
        return given
    raise PiUsageError(
        f"{setting} is a {type(given).__name__}; give LangChain embeddings, or object:MODULE:NAME of some"
    )


def _made(found: Any, kind: type) -> Any:
    """`found`, or what it makes: a class or a function makes one."""
    return found() if callable(found) and not isinstance(found, kind) else found


def at_temperature(model: BaseChatModel, temperature: float | None) -> BaseChatModel:
    """A copy at this temperature; `model` itself when that is None, in use already, or no setting of the model."""
    settable = "temperature" in type(model).model_fields
    if temperature is None or not settable or getattr(model, "temperature", None) == temperature:
        return model
    # `with_structured_output` drops settings given with a call, so this one goes into a copy of the model.
    return model.model_copy(update={"temperature": temperature})


def at_most(model: BaseChatModel, tokens: int | None) -> BaseChatModel:
    """A copy whose answers have at most so many tokens; `model` itself when that is None, or its own limit is lower."""
    field = _limit_field(model)
    if tokens is None or field is None:
        return model
    own = getattr(model, field)
    if isinstance(own, int) and 0 < own <= tokens:
        return model
    return model.model_copy(update={field: tokens})


def limits_answers(model: BaseChatModel) -> bool:
    """Whether the model has a setting for the most tokens an answer may have."""
    return _limit_field(model) is not None


def _limit_field(model: BaseChatModel) -> str | None:
    return next((field for field in _LIMITS if field in type(model).model_fields), None)


def identity_of(model: BaseChatModel) -> str:
    """Provider, model, class and the settings that move its answers; no secrets and no addresses."""
    known = model._get_ls_params()
    name = known.get("ls_model_name") or getattr(model, "model_name", None) or getattr(model, "model", "")
    temperature = getattr(model, "temperature", None)
    parts = [f"{known.get('ls_provider', '')}:{name}", f"class={type(model).__name__}"]
    parts.append(f"temperature={'default' if temperature is None else f'{temperature:g}'}")
    parts += [f"{field}={value}" for field in _SETTINGS if (value := getattr(model, field, None)) is not None]
    addresses = [getattr(model, field, None) for field in _ENDPOINTS]
    parts += [f"endpoint={_digest(address)}" for address in addresses if isinstance(address, str) and address]
    return ";".join(parts)


def _digest(address: str) -> str:
    """Tells servers apart without telling where they are, whatever user or password the address carries."""
    parts = urlsplit(address)
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def secrets_of(model: BaseChatModel) -> list[str]:
    """The values that must not appear in a message."""
    held = vars(model).values()
    return [value.get_secret_value() for value in held if isinstance(value, SecretStr) and value.get_secret_value()]
