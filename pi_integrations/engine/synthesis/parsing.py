"""Reads the list that a model was asked to write, mending JSON that is nearly valid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pi_integrations.engine.synthesis.items import Item
from pi_integrations.engine.synthesis.lenient import read_leniently

__all__ = ["read_item", "read_list"]

_START_OF_THOUGHT, _END_OF_THOUGHT = "<think>", "</think>"
_OPENING = re.compile(r"""\[\s*(?:["'{\[\d]|\])|\{\s*["'}]""")
_MAX_STARTS = 50
_MAX_LENGTH = 1_000_000


def read_list(text: str) -> list[Any] | None:
    """The elements of the JSON list in `text`; None when there is none.

    Prose, code fences and thoughts around it, an object around it, one object after another instead of a list, and
    JSON that is nearly valid (single quotes, trailing commas, bare line breaks, unescaped quotes) are all read. Of a
    list that was cut off only the elements that are whole are returned.
    """
    text = text[:_MAX_LENGTH].rpartition(_END_OF_THOUGHT)[2].partition(_START_OF_THOUGHT)[0]
    strict = list(_values(text))
    if (found := _listed(strict)) is not None:
        return found
    opening = _OPENING.search(text)
    return None if opening is None else _mended(text[opening.start() :])


def read_item(value: Any, form: str) -> Item | None:
    """The item that an element of a list stands for; None when it is none, or when a text is blank."""
    if isinstance(value, str) and form == "inputs":
        return Item(value.strip()) if value.strip() else None
    if not isinstance(value, dict):
        return None
    texts = [_text(value.get(name)) for name in ("llm_input", "llm_output")]
    if form == "inputs":
        return Item(texts[0]) if texts[0] else None
    return Item(texts[0], texts[1]) if texts[0] and texts[1] else None


def _text(value: Any) -> str:
    # An application's output may itself be JSON, which some models then write unquoted.
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value.strip() if isinstance(value, str) else ""


def _values(text: str) -> Iterator[Any]:
    """Every valid JSON list and object, outermost only."""
    decoder, end = json.JSONDecoder(strict=False), 0
    for count, start in enumerate(_OPENING.finditer(text)):
        if count == _MAX_STARTS and not end:
            return
        if start.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            # The outermost is not valid, so what is valid within it is not the whole answer.
            return
        yield value


def _listed(values: list[Any]) -> list[Any] | None:
    """The longest list among `values` or just inside one of them; else the objects themselves."""
    lists = [value for value in values if isinstance(value, list)]
    objects = [value for value in values if isinstance(value, dict)]
    lists += [inner for value in objects if "llm_input" not in value for inner in value.values() if _is_list(inner)]
    return max(lists, key=len) if lists else objects or None


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _mended(text: str) -> list[Any] | None:
    value = read_leniently(text)
    return None if value is None else _listed([value])
