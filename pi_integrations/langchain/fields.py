"""Pydantic models and dataclasses as mappings of their fields: graphs have such states, chains such answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from pi_integrations.langchain.messages import is_message

__all__ = ["CONTEXT_KEYS", "INPUT_NAMES", "fields_of", "opened"]

INPUT_NAMES = ("llm_input", "input", "question", "query")
"""Usual names of an application's input."""

CONTEXT_KEYS = ("contexts", "context")
"""Names of retrieved passages."""

_USUAL = frozenset({"messages", "content", *CONTEXT_KEYS, *INPUT_NAMES})


def opened(value: Any, key: str | Callable[[Any], Any] | None, *, is_state: bool = False) -> Any:
    """`value`; when that is a model or dataclass and a part of it is meant, a mapping of its fields.

    Args:
        value: Inputs or outputs, as the framework passes them.
        key: The caller's key: a function receives the value itself, a name picks one of all its fields.
        is_state: Whether it is like a mapping without a key, too: of the fields without a default, and those with a
            usual name that were given. Where there are none, of all that were given, else of all: nobody would have
            written the others into a mapping.
    """
    if callable(key) or (key is None and (not is_state or hasattr(value, "page_content"))):
        return value
    found = fields_of(value)
    if found is None:
        return value
    return found if key is not None else _given(value, found) or found


def fields_of(value: Any) -> dict[str, Any] | None:
    """The fields of a model or dataclass; None of anything else, and of messages, prompts and LangGraph's commands."""
    if isinstance(value, str | list | Mapping | type) or is_message(value) or hasattr(value, "to_messages"):
        return None
    # LangGraph's `Command`, recognised without importing LangGraph.
    if hasattr(value, "resume") and hasattr(value, "goto"):
        return None
    if isinstance(value, BaseModel):
        held = value.__dict__  # reading a deprecated field as an attribute warns
        return {**{name: held[name] for name in type(value).model_fields if name in held}, **(value.model_extra or {})}
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value) if hasattr(value, field.name)}
    return None


def _given(value: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The fields that hold the application's input; empty when none were set."""
    if isinstance(value, BaseModel):
        required = {name for name, field in type(value).model_fields.items() if field.is_required()}
        given = value.model_fields_set
    else:
        by_name = {each.name: each for each in fields(value)}
        required = {name for name, field in by_name.items() if not _has_default(field)}
        given = {name for name, part in found.items() if not _is_default(by_name[name], part)}
    telling = required | {name for name in given if name in _USUAL}
    return {name: part for name, part in found.items() if name in (telling or given)}


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _is_default(field: Field[Any], value: Any) -> bool:
    if field.default_factory is not MISSING:
        return type(value) in (list, dict, set, tuple) and not value  # without calling the application's factory
    return value is field.default
