"""Reads the list that a model was asked to write, mending JSON that is nearly valid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from pi_integrations.engine.synthesis.items import Item
from pi_integrations.engine.synthesis.lenient import read_leniently

__all__ = ["read_item", "read_list"]

_START_OF_THOUGHT, _END_OF_THOUGHT = "<think>", "</think>"
# A key is followed by a colon, so that an object is not begun by prose that has a name in braces.
_OPENING = re.compile(
    r"""\[\s*(?:["'{\[\d]|\]|(?:[Tt]rue|[Ff]alse)\b)|\{\s*(?:\}|"[^"\n]{0,99}"\s*:|'[^'\n]{0,99}'\s*:)"""
)
_MAX_MENDED = 200
_MAX_LENGTH = 1_000_000
_DEEPEST_WRAPPING = 2


def read_list(text: str, is_readable: Callable[[Any], bool] | None = None) -> list[Any] | None:
    """The elements of the JSON list in `text`; None when there is none.

    Prose, code fences and thoughts around it, an object or two around it, objects one after another or numbered
    instead of in a list, and JSON that is nearly valid (single quotes, trailing commas, bare line breaks, unescaped
    quotes) are all read. Of a list that was cut off only the elements that are whole are returned. Of several lists
    it is the one with the most elements that are readable, objects before others, and of equals the last.

    Args:
        text: What the model wrote.
        is_readable: Whether an element is of use; default whether it may be an item, as `read_item` takes it.
    """
    text = text[:_MAX_LENGTH].rpartition(_END_OF_THOUGHT)[2].partition(_START_OF_THOUGHT)[0]
    values = list(_values(text))
    is_readable = is_readable or _may_be_item
    lists: list[list[Any]] = [found for value in values for found in _lists(value, 0)]
    objects: list[Any] = [value for value in values if isinstance(value, dict)]
    if not lists:
        return objects or None
    best = max(reversed(lists), key=lambda found: (*_readable(found, is_readable), len(found)))
    return objects if _readable(objects, is_readable) > _readable(best, is_readable) else best


def read_item(value: Any, form: str) -> Item | None:
    """The item that an element of a list stands for; None when it is none, or when a text is blank.

    Numbers, booleans, lists and objects in the place of a text count as their JSON: an application that classifies or
    calculates answers so.
    """
    if isinstance(value, str) and form == "inputs":
        return Item(value.strip()) if value.strip() else None
    if not isinstance(value, dict):
        return None
    texts = [_text(value.get(name)) for name in ("llm_input", "llm_output")]
    if form == "inputs":
        return Item(texts[0]) if texts[0] else None
    return Item(texts[0], texts[1]) if texts[0] and texts[1] else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _may_be_item(value: Any) -> bool:
    return "llm_input" in value if isinstance(value, dict) else isinstance(value, str) and bool(value.strip())


def _readable(values: list[Any], is_readable: Callable[[Any], bool]) -> tuple[int, int]:
    """How many are readable: objects, and others."""
    found = [isinstance(value, dict) for value in values if is_readable(value)]
    return sum(found), len(found) - sum(found)


def _values(text: str) -> Iterator[Any]:
    """Every JSON list and object that is valid or can be mended, outermost only."""
    decoder, at, mended = json.JSONDecoder(strict=False), 0, 0
    while mended < _MAX_MENDED and (opening := _OPENING.search(text, at)):
        try:
            value, at = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            value, at = read_leniently(text, opening.start())
            mended += 1
        if value is not None:
            yield value


def _lists(value: Any, depth: int) -> Iterator[list[Any]]:
    """`value` if it is a list; if it is an object, the lists in it and the objects that are its members."""
    if isinstance(value, list):
        yield value
    elif isinstance(value, dict) and "llm_input" not in value and depth < _DEEPEST_WRAPPING:
        if members := [member for member in value.values() if isinstance(member, dict)]:
            yield members
        for member in value.values():
            yield from _lists(member, depth + 1)
