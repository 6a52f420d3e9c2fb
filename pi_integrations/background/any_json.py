"""JSON of whatever an application has."""

from __future__ import annotations

from collections import deque
from typing import Any

from pydantic_core import to_json

__all__ = ["any_json"]

# With the 250 levels that pydantic writes, well below the 1,000 or so that Python's own reader takes.
_DEEPEST = 100


def any_json(value: Any) -> bytes:
    r"""`value` as JSON on one line, whatever it holds.

    What JSON does not know is written as `str` gives it, NaN and infinities as null. What is no Unicode, such as bytes
    that are not in UTF-8, has escapes in its place; what has no text at all, its type. A list or mapping with something
    of that kind in it is written once, and is `...` wherever else it is, such as within itself; as is what is hundreds
    of levels down.

    Example:
        >>> any_json({"name": "Grüße", "raw": b"\xff", "ids": {7}}).decode()
        '{"name":"Grüße","raw":"\\\\xff","ids":[7]}'
    """
    return _whole(value) or _in_parts(value, set(), 0)


def _whole(value: Any) -> bytes | None:
    """`value` as pydantic writes it; None when it does not, because of one thing in it."""
    try:
        return to_json(value, fallback=str, inf_nan_mode="null")
    except Exception:  # noqa: BLE001 (also what the application's own __str__ raises)
        return None


def _in_parts(value: Any, seen: set[int], depth: int) -> bytes:
    """The parts of `value` one by one; once each, or things that hold each other would have no end."""
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
    """What is in it now: the application may go on to change it."""
    return list(value.items()) if isinstance(value, dict) else list(value)


def _key(key: Any) -> bytes:
    entry = _whole({key: 0})
    return to_json(_text(key)) if entry is None else entry[1:-3]


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (whatever the application's own code raises)
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode()
