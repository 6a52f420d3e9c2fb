"""What a label says: whether an exchange belongs to the good ones."""

from __future__ import annotations

__all__ = ["UNDERSTOOD", "is_positive"]

UNDERSTOOD = "good or bad, true or false, 1 or 0, or a number from 0 to 1 (0.5 and above is good)"
"""The values `is_positive` reads, for messages."""

_WORDS = {"good": True, "true": True, "bad": False, "false": False}


def is_positive(label: object) -> bool | None:
    """True for a good exchange, False for a bad one, None where there is no label (None or blank).

    Reads words in either case, booleans, and numbers in [0, 1], of which 0.5 and above are good.

    Raises:
        ValueError: for anything else, naming the values understood.
    """
    if label is None or isinstance(label, bool):
        return label
    if isinstance(label, str):
        return _from_text(label.strip())
    if isinstance(label, int | float):
        return _from_number(label, label)
    raise ValueError(f"label is a {type(label).__name__}; use {UNDERSTOOD}")


def _from_text(text: str) -> bool | None:
    if not text:
        return None
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"label {_shown(text)} is not understood; use {UNDERSTOOD}") from None
    return _from_number(number, text)


def _from_number(number: float, label: object) -> bool:
    # NaN fails this comparison too.
    if not 0 <= number <= 1:
        raise ValueError(f"label {_shown(label)} is outside 0 to 1; use {UNDERSTOOD}")
    return number >= 0.5


def _shown(label: object) -> str:
    text = repr(label)
    return text if len(text) <= 40 else text[:40] + "…"
