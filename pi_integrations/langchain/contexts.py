"""Retrieved passages: strings, documents, or lists of them, given or found in inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.fields import CONTEXT_KEYS, opened
from pi_integrations.langchain.messages import is_message
from pi_integrations.langchain.texts import Key, plain_text

__all__ = ["distinct_contexts", "find_contexts", "read_contexts"]

_INSIDE = (*CONTEXT_KEYS, "documents")


def read_contexts(value: Any) -> list[str]:
    """The passages in `value`, in order: of a string itself, of a document its text, of a list each."""
    if value is None:
        return []
    if hasattr(value, "page_content"):
        return [str(value.page_content)]
    if isinstance(value, Mapping):
        return _read_mapping(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [text for item in value for text in read_contexts(item)]
    return [plain_text("contexts", value)]


def distinct_contexts(documents: list[Any]) -> list[str]:
    """The passages that retrievers found, each once: a chain that is retried retrieves them again."""
    return list(dict.fromkeys(read_contexts(documents)))


def _read_mapping(value: Mapping[str, Any]) -> list[str]:
    inner = value.get("kwargs") if "lc" in value else value
    if isinstance(inner, Mapping) and "page_content" in inner:
        return [str(inner["page_content"])]
    for name in _INSIDE:
        if name in value:
            return read_contexts(value[name])
    return [plain_text("contexts", value)]


def find_contexts(inputs: Any, outputs: Any, key: Key | None) -> list[str] | None:
    """The passages that `key` points at; without a key those under a usual name; None when there is no such entry.

    Raises:
        PiUsageError: when `key` names nothing in either.
    """
    if callable(key):
        return read_contexts(key(outputs))
    places = opened(outputs, key), opened(inputs, key, is_state=True)
    holders = [value for value in places if isinstance(value, Mapping) and not is_message(value)]
    for holder in holders:
        for name in CONTEXT_KEYS if key is None else (key,):
            if name in holder:
                return read_contexts(holder[name])
    if key is not None:
        raise PiUsageError(f"context_key is {key!r}, but neither outputs nor inputs has such an entry")
    return None
