"""Bars and tiny histograms out of line and block characters, or out of ASCII where the terminal has no more."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

__all__ = ["bar", "sparkline", "style_of"]

_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = ".:-=+*#@"


def style_of(score: float) -> str:
    """The colour of a score in [0, 1]: red below 0.4, yellow below 0.7, green above."""
    return "red" if score < 0.4 else "yellow" if score < 0.7 else "green"


def bar(share: float, width: int, *, ascii_only: bool = False) -> Text:
    """A horizontal bar of `width` cells, filled by `share` in [0, 1] and coloured by it."""
    share = min(max(share, 0.0), 1.0)
    halves = round(share * width * 2)
    filled = "#" * (halves // 2) if ascii_only else "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((filled, style_of(share)), (("." if ascii_only else "·") * (width - len(filled)), "dim"))


def sparkline(counts: Sequence[int], *, ascii_only: bool = False) -> str:
    """One character a count, its height the count's share of the largest; a space for 0, never for more."""
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    largest = max(counts, default=0)
    return "".join(levels[-(-count * len(levels) // largest) - 1] if count else " " for count in counts)
