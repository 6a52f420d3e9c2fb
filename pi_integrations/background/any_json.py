"""JSON of any value of an application."""

from __future__ import annotations

from collections import deque
from typing import Any

from pydantic_core import to_json

__all__ = ["any_json"]

# With the 250 levels that pydantic writes, well below the 1,000 or so that Python's own reader takes.
_DEEPEST = 100


def any_json(value: Any) -> bytes:
    r"""`value` as one line of JSON; never raises.

    Types that JSON does not have are written as `str` gives them, NaN and infinities as null, text that is not valid
    Unicode and bytes that are not UTF-8 with escapes, and objects whose `str` fails as their type. A list or mapping
    that holds one of these is written once: repeated, as in a circular reference, it is `...`. So is anything more than
    about a hundred levels deep.

    Example:
        >>> any_json({"name": "Grüße", "raw": b"\xff", "ids": {7}}).decode()
        '{"name":"Grüße","raw":"\\\\xff","ids":[7]}'
    """
    return _whole(value) or _in_parts(value, set(), 0)


def _whole(value: Any) -> bytes | None:
    """`value` as pydantic writes it; None when a part of it keeps pydantic from that."""
    try:
        return to_json(value, fallback=str, inf_nan_mode="null")
    except Exception:  # noqa: BLE001 (also errors of the application's own __str__)
        return None


def _in_parts(value: Any, seen: set[int], depth: int) -> bytes:
    """The parts of `value` one by one, each once: a circular reference has no end."""
    if not isinstance(value, dict | list | tuple | set | frozenset | deque):
        return to_json(_text(value))
    if id(value) in seen or depth > _DEEPEST:
        return b'"..."'
    seen.add(id(value))
    if isinstance(value, dict):
        entries = [_key(key) + b":" + (_whole(part) or _in_parts(part, seen, depth + 1)) for key, part in _copy(value)]
        return b"{" + b",".join(entries) + b"}"
    return b"[" + b",".join([_whole(part) or _in_parts(part, seen, depth + 1) for part in _copy(value)]) + b"]"


def _copy(value: Any) -> list[Any]:
    """The present items: the application may change `value` meanwhile."""
    return list(value.items()) if isinstance(value, dict) else list(value)


def _key(key: Any) -> bytes:
    entry = _whole({key: 0})
    return to_json(_text(key)) if entry is None else entry[1:-3]


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (anything that the application's own code raises)
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()
