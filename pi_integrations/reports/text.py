"""Text in reports and on the terminal: untrusted text made safe to show, long text cut, and notes on the judge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pi_integrations.statistics.summary import Excerpt

__all__ = ["Passage", "clip", "first_line", "judge_names", "judge_note", "passage", "visible"]

# A text of up to 1,000 characters is not folded for the sake of a few words.
_SHOWN = 700
_FOLD_FROM = 1_000
# Control characters except tab and line ends; marks that reorder or hide text; lone surrogates, which no file holds.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_BASELINE = (
    "The baseline is not a judge. It looks at surface features such as length and shared words, needs no model, and is"
    " there as a reference point that a real judge has to beat. For a judge that reads the answers, add for example"
    " --judge chat:openai:gpt-4.1-mini"
)
_SCRIPTED = "These scores come from a script made for tests, not from a judge that reads the answers."
_UNNAMED = "The service does not say which judge made these scores."
_SEVERAL = "More than one judge made these scores; scores of different judges cannot be compared."


def visible(text: str) -> str:
    r"""`text` with each invisible character as its code point: terminal escapes, bidirectional overrides, null bytes.

    Example:
        >>> visible("a\x1b[2Jb")
        'a⟦U+001B⟧[2Jb'
    """
    return _INVISIBLE.sub(lambda match: f"⟦U+{ord(match[0]):04X}⟧", text)


@dataclass(frozen=True, slots=True)
class Passage:
    """A text in parts.

    Attributes:
        shown: The beginning.
        folded: The rest of the excerpt, folded away; empty for most texts.
        length: Number of characters of the whole text.
        missing: Number of characters that the report leaves out.
    """

    shown: str
    folded: str
    length: int
    missing: int


def passage(text: Excerpt) -> Passage:
    """`text` whole when it is short; else its first 700 characters, and the rest to fold away."""
    split = len(text.text) if len(text.text) <= _FOLD_FROM else _SHOWN
    return Passage(text.text[:split], text.text[split:], text.length, text.length - len(text.text))


def clip(text: str, limit: int) -> str:
    """`text`, or its beginning and a note of its length when it has more than `limit` characters."""
    return text if len(text) <= limit else f"{text[:limit]}… (cut; {len(text):,} characters)"


def first_line(text: str, limit: int = 160) -> str:
    """The beginning of `text` on one line."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def judge_names(fingerprints: Iterable[str | None]) -> str:
    """The fingerprints, for a heading; `not named` for a service that does not name its judge."""
    return ", ".join(sorted({fingerprint or "not named" for fingerprint in fingerprints})) or "none"


def judge_note(fingerprints: Iterable[str | None]) -> str | None:
    """The caution to show beside scores of these judges; None when there is none."""
    judges = set(fingerprints)
    if len(judges) > 1:
        return _SEVERAL
    judge = next(iter(judges), "")
    if judge is None:
        return _UNNAMED
    if judge.startswith("baseline"):
        return _BASELINE
    return _SCRIPTED if judge.startswith("scripted") else None
