"""Reads an item from an element of the list that the generator wrote."""

from __future__ import annotations

import json
from typing import Any

from pi_integrations.engine.synthesis.items import Item

__all__ = ["may_be_item", "read_item"]


def may_be_item(value: Any) -> bool:
    """Whether an element looks like an item, as `read_item` takes it."""
    return "llm_input" in value if isinstance(value, dict) else isinstance(value, str) and bool(value.strip())


def read_item(value: Any, form: str) -> Item | None:
    """The item that an element stands for; None when it is none, or when a text is blank.

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
