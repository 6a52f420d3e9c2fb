"""Validation errors as short sentences that name the field, for wire bodies and for exceptions alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from pydantic import ValidationError

__all__ = ["Problem", "describe", "render"]

# Discriminator tags that pydantic puts into error locations but that no caller ever wrote.
_TAGS = frozenset({"#questions", "#dimensions"})
_SHOWN_CHARACTERS = 60


class Problem(TypedDict):
    """One fault of a request, in FastAPI's shape but for the input itself, which may be huge or secret."""

    type: str
    loc: list[str | int]
    msg: str


def describe(error: ValidationError, *, prefix: Iterable[str | int] = ()) -> list[Problem]:
    """The faults in `error`, each with its location below `prefix` and a message that ends in the value seen."""
    return [
        Problem(
            type=fault["type"],
            loc=[*prefix, *(part for part in fault["loc"] if part not in _TAGS)],
            msg=_message(fault["msg"], fault["type"], fault.get("input")),
        )
        for fault in error.errors(include_url=False, include_context=False)
    ]


def render(problems: Iterable[Problem]) -> str:
    """`scoring_spec[0].weight: Input should be greater than or equal to 0 (got -1.0)`, joined by semicolons."""
    return "; ".join(f"{_path(p['loc'])}: {p['msg']}" for p in problems)


def _message(text: str, kind: str, value: object) -> str:
    text = text.removeprefix("Value error, ")
    # For these, the input is everything around the fault, or the message names the value itself.
    if kind in ("missing", "value_error", "json_invalid") or not isinstance(value, str | int | float | None):
        return text
    shown = repr(value)
    return f"{text} (got {shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + '…'})"


def _path(location: list[str | int]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "request"
