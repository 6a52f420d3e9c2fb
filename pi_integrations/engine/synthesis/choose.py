"""From what an operator wrote to the models that generate: `chat:PROVIDER:MODEL`, `object:MODULE:NAME`, or a model."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from pi_integrations.engine.named_object import PREFIX, named_object
from pi_integrations.errors import PiUsageError

__all__ = ["choose_embeddings", "choose_generator"]

_WAYS = "give chat:PROVIDER:MODEL, object:MODULE:NAME of a LangChain chat model, or a LangChain chat model"


def choose_generator(generator: Any) -> BaseChatModel:
    """The chat model that `generator` names or is.

    Raises:
        PiUsageError: when it is none.
        ImportError: when its package is not installed.
    """
    if isinstance(generator, str) and generator.startswith("chat:") and generator != "chat:":
        from pi_integrations.engine.judges.chat_model.model import chat_model_from_string

        return chat_model_from_string(generator.removeprefix("chat:"))
    if isinstance(generator, str) and generator.startswith(PREFIX):
        generator = _made(named_object(generator, "generator"), BaseChatModel)
    if isinstance(generator, BaseChatModel):
        return generator
    shown = repr(generator) if isinstance(generator, str) else f"a {type(generator).__name__}"
    raise PiUsageError(f"generator is {shown}; {_WAYS}")


def choose_embeddings(embeddings: Any) -> Embeddings | None:
    """The LangChain embeddings that `embeddings` names or is; None for none.

    Raises:
        PiUsageError: when it is something else.
    """
    if isinstance(embeddings, str) and embeddings.startswith(PREFIX):
        embeddings = _made(named_object(embeddings, "generator_embeddings"), Embeddings)
    if embeddings is None or isinstance(embeddings, Embeddings):
        return embeddings
    kind = type(embeddings).__name__
    raise PiUsageError(f"generator_embeddings is a {kind}; give LangChain embeddings, or object:MODULE:NAME of some")


def _made(found: Any, kind: type) -> Any:
    """`found`, or what it makes: a class or a function makes one."""
    return found() if callable(found) and not isinstance(found, kind) else found
