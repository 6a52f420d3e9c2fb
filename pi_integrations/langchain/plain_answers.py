"""A fast path that reads the exchange of most chains and models: it may run on the application's own time."""

from __future__ import annotations

from typing import Any

from pi_integrations.langchain.contexts import distinct_contexts
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.langchain.fields import CONTEXT_KEYS
from pi_integrations.langchain.state_answers import read_state_answer

__all__ = ["read_plain_answer"]

_WRITTEN = frozenset({"ai", "AIMessageChunk"})


def read_plain_answer(reader: ExchangeReader, inputs: Any, outputs: Any, documents: list[Any]) -> dict[str, Any] | None:
    """The arguments of `submit`, equal to the result of `reader` for the same run.

    None when `reader` itself is needed: for keys, inputs that are neither one text nor messages that end with the
    user's, and outputs that are neither a text nor a model's message without tool calls.
    """
    if reader.input_key is not None or reader.output_key is not None or reader.context_key is not None:
        return None
    answer = _answer(outputs)
    parts = None if answer is None else _parts(inputs, outputs, answer)
    if parts is not None and documents:
        parts["contexts"] = distinct_contexts(documents)
    return parts


def _answer(outputs: Any) -> str | None:
    if isinstance(outputs, str):
        return str(outputs)  # LangChain's parsers give strings of a class of its own
    if getattr(outputs, "type", None) not in _WRITTEN or outputs.tool_calls:
        return None
    return outputs.content if type(outputs.content) is str else None


def _parts(inputs: Any, outputs: Any, answer: str) -> dict[str, Any] | None:
    if type(inputs) is list:
        is_asked = bool(inputs) and getattr(inputs[-1], "type", None) == "human"
        return read_state_answer(None, [*inputs, ("assistant", answer)]) if is_asked else None
    if type(inputs) is dict and len(inputs) == 1:
        ((name, inputs),) = inputs.items()
        if name in CONTEXT_KEYS:
            return None
    return {"llm_input": str(inputs), "llm_output": answer} if isinstance(inputs, str) else None
