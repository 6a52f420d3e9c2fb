"""One item a line: how rows of a job are written on its `/data` stream, and read back."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["decode_text", "encode_json", "encode_text"]

# Line breaks to `str.splitlines` that JSON may carry unescaped; some clients split with it.
_BREAKS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def encode_json(value: Any) -> str:
    """`value` as JSON in one line, whatever splits lines.

    Example:
        >>> encode_json({"llm_input": "Hi\\n"})
        '{"llm_input":"Hi\\\\n"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_BREAKS)


def encode_text(text: str) -> str:
    """`text` as it is; as a JSON string when it has line breaks, is empty, or would read as a JSON string.

    Example:
        >>> encode_text("Where is my order?"), encode_text("one\\ntwo")
        ('Where is my order?', '"one\\\\ntwo"')
    """
    return text if text.splitlines() == [text] and decode_text(text) == text else encode_json(text)


def decode_text(line: str) -> str:
    """The text that `encode_text` made `line` of; a bare line of a service that never encodes is itself.

    Example:
        >>> decode_text('"one\\\\ntwo"') == "one\\ntwo", decode_text('"quoted" word')
        (True, '"quoted" word')
    """
    if line.startswith('"'):
        try:
            value = json.loads(line)
        except ValueError:
            return line
        if isinstance(value, str):
            return value
    return line
