"""What of a text is compared: no letter case, no punctuation, no white space."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["SYLLABIC", "fold", "words"]

# Han, kana, Bopomofo, Yi; Hangul; compatibility ideographs; the ideographs beyond U+FFFF.
SYLLABIC = ((0x2E80, 0xA4CF), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Code points of scripts whose characters stand for syllables or words: first and last of each range."""

_KEPT = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Sc", "Sm", "So"})
# Thai and Lao, Myanmar, Khmer: letters, written without spaces between words.
_UNSPACED = (*SYLLABIC, (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
_UNSPACED_CLASS = "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSPACED)
_WORD = re.compile(rf"[{_UNSPACED_CLASS}]|[^\s{_UNSPACED_CLASS}]+")


class _Table(dict[int, int | str]):
    """A table for `str.translate` that keeps letters, marks, numbers and symbols and puts `other` for all else."""

    def __init__(self, other: str) -> None:
        self._other = other

    def __missing__(self, code: int) -> int | str:
        value = code if unicodedata.category(chr(code)) in _KEPT else self._other
        if code <= 0xFFFF:  # so that hostile text cannot grow the table without end
            self[code] = value
        return value


_DROP, _SPACE = _Table(""), _Table(" ")


def fold(text: str) -> str:
    """`text` without what does not tell texts apart: letter case, width, punctuation and white space.

    NFKC, casefold, then only letters, marks, numbers and symbols (`+`, `€`, emoji). A text of nothing but punctuation
    keeps it; the result is empty for white space alone.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return plain.translate(_DROP) or "".join(plain.split())


def words(text: str) -> list[str]:
    """The words of `text`, folded; in scripts written without spaces, its characters."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(plain.translate(_SPACE))
