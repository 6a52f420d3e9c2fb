"""Selects an entry of a mapping, and converts values that are not text to text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.messages import is_message, read_turns

__all__ = ["Key", "Side", "plain_text", "select", "structured_text"]

Key = str | Callable[[Any], Any]
"""Name of an entry, or a function of the whole that returns the part meant."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the values a framework passes: inputs, outputs or reference outputs.

    Attributes:
        name: The framework's name for it.
        argument: Our argument that picks from it.
        role: Role of a message there that names none.
        names: Usual names of the entry that holds the text.
        is_state: Whether a model or dataclass there is like a mapping of its fields, and not an answer as JSON.
    """

    name: str
    argument: str
    role: str
    names: tuple[str, ...]
    is_state: bool = False


def select(side: Side, value: Any, key: Key | None, *, apart_from: Sequence[str]) -> Any:
    """The part of `value` that is meant; None when there is nothing.

    Raises:
        PiUsageError: when `key` names nothing, or several entries could be meant.
    """
    if callable(key):
        return key(value)
    if key is not None:
        return _entry(side, value, key) if isinstance(value, Mapping) else _itself(side, value, key)
    if not isinstance(value, Mapping) or is_message(value):
        return value
    if "messages" in value:
        return value["messages"]
    if "generations" in value:
        return _generated(value["generations"])
    return _only(side, {name: part for name, part in value.items() if name not in apart_from})


def _entry(side: Side, value: Mapping[str, Any], key: str) -> Any:
    if key not in value:
        raise PiUsageError(f"{side.argument} is {key!r}, but {side.name} holds {_listed(value)}")
    return value[key]


def _itself(side: Side, value: Any, key: str) -> Any:
    """A text, a number, or messages: there is nothing to choose from."""
    if value is None or isinstance(value, str | int | float) or read_turns(value, side.role) is not None:
        return value
    raise PiUsageError(
        f"{side.argument} is {key!r}, but {side.name} is a {type(value).__name__} and has no entries by name; pass"
        f" {side.argument}= a function that takes {side.name} and returns the text"
    )


def _only(side: Side, value: Mapping[str, Any]) -> Any:
    names = list(value) if len(value) == 1 else [name for name in side.names if name in value]
    if len(names) == 1:
        return value[names[0]]
    if not value:
        return None
    raise PiUsageError(
        f"{side.name} holds {_listed(value)}, and which of them is meant is not clear; pass {side.argument}= the name"
        f" of one, or a function that takes {side.name} and returns the text"
    )


def _generated(generations: Any) -> Any:
    """The first answer in the outputs of a traced model run."""
    while isinstance(generations, list) and generations:
        generations = generations[0]
    if isinstance(generations, Mapping):
        return generations.get("message") or generations.get("text")
    return generations or None


def plain_text(name: str, value: Any, argument: str | None = None) -> str:
    """A string as it is, anything else as JSON.

    Args:
        name: Name of the value, for the error message.
        value: The value to convert.
        argument: Our argument with which the caller can pick something else.

    Raises:
        PiUsageError: when it can be neither.
    """
    if isinstance(value, str):
        return str(value)
    try:
        if hasattr(value, "model_dump_json"):
            return str(value.model_dump_json())
        return to_json(value).decode() if is_dataclass(value) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        other = f", or {argument}= the name of a text in {name} or a function that takes {name} and returns one"
        raise PiUsageError(
            f"{name} holds a value of type {type(value).__name__}, neither text, nor messages, nor JSON; pass a string"
            f"{other if argument else ''}"
        ) from None


def structured_text(value: Any) -> str:
    """A structured answer as JSON: a model, a mapping or a dataclass, with any values that pydantic can serialise.

    Raises:
        PiUsageError: when it cannot be written.
    """
    try:
        return plain_text("structured_response", value)
    except PiUsageError:
        try:
            return to_json(value).decode()
        except PydanticSerializationError as error:
            raise PiUsageError(f"structured_response cannot be written as JSON: {error}") from None


def _listed(value: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in value) or "nothing"
