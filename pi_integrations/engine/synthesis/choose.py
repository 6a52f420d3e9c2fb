"""From what an operator wrote to a generator: `chat:PROVIDER:MODEL`, `object:MODULE:NAME`, or a chat model itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from langchain_core.language_models import BaseChatModel

from pi_integrations.errors import PiUsageError

__all__ = ["choose_generator"]

_WAYS = "give chat:PROVIDER:MODEL, object:MODULE:NAME of a LangChain chat model, or a LangChain chat model"


def choose_generator(generator: Any) -> BaseChatModel:
    """The chat model that `generator` names or is.

    Raises:
        PiUsageError: when it is none.
        ImportError: when its package is not installed.
    """
    if isinstance(generator, str):
        kind, _, rest = generator.partition(":")
        if kind == "chat" and rest:
            from pi_integrations.engine.judges.chat_model.model import chat_model_from_string

            return chat_model_from_string(rest)
        if kind == "object" and rest.count(":") == 1:
            return _imported(rest)
        raise PiUsageError(f"generator is {generator!r}; {_WAYS}")
    if isinstance(generator, BaseChatModel):
        return generator
    raise PiUsageError(f"generator is a {type(generator).__name__}; {_WAYS}")


def _imported(path: str) -> BaseChatModel:
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PiUsageError(f"generator object:{path} cannot be imported: {error}") from None
    # A class or a function makes one.
    model = found() if callable(found) and not isinstance(found, BaseChatModel) else found
    if not isinstance(model, BaseChatModel):
        raise PiUsageError(f"generator object:{path} is a {type(model).__name__}; {_WAYS}")
    return model
