"""Long texts cut into what the report shows at once, what it folds away, and what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass

from pi_integrations.cli.kept import Excerpt

__all__ = ["Passage", "clip", "first_line", "passage"]

_SHOWN = 700
_FOLD_FROM = 1_000


@dataclass(frozen=True, slots=True)
class Passage:
    """A text in parts.

    Attributes:
        shown: The beginning.
        folded: What follows, up to where the report cuts; empty for most texts.
        length: Characters of the whole text.
        missing: Characters that the report leaves out.
    """

    shown: str
    folded: str
    length: int
    missing: int


def passage(text: Excerpt) -> Passage:
    """`text` whole when it is short; else its first 700 characters and the rest, to be folded away."""
    split = len(text.text) if len(text.text) <= _FOLD_FROM else _SHOWN
    return Passage(text.text[:split], text.text[split:], text.length, text.length - len(text.text))


def clip(text: str, limit: int) -> str:
    """`text`, or its beginning and a note of its length when it has more than `limit` characters."""
    return text if len(text) <= limit else f"{text[:limit]}… (cut; {len(text):,} characters)"


def first_line(text: str, limit: int = 160) -> str:
    """The beginning of `text` on one line."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
