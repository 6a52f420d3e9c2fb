"""What of a text is compared: no letter case, no white space, and of punctuation only what changes a meaning."""

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


# Punctuation that says something wherever it stands, and such as does where it stands so. The dashes become one.
_SAYING = frozenset("%&/@\\^")
_DASHES = "-\u2010\u2012\u2013\u2014\u2212"
_SIGN = re.compile(
    rf"""
    [\#*.:,!{_DASHES}](?:
    (?<=\w\#) | (?<=\#)(?=\w)                                                     # C#, #5
    | (?<=[\w)\]]\*)\*?(?=[\w(\[]) | (?<=[\w)\]][ ]\*)\*?(?=[ ][\w(\[])          # 6*3, 6 * 3, not **bold**
    | (?<=\d[{_DASHES}])(?=\d) | (?<=\d[ ][{_DASHES}])(?=[ ]\d)                     # 5-3, 5 - 3, not e-mail
    | (?<=[{_DASHES}])(?<![\w)\]{_DASHES}].)(?=\d) | (?<=\b[^\W\d_][{_DASHES}])(?=\d)  # -5, x-1, not GPT-4
    | (?<=\d[.:])(?=\d) | (?<=\d,)(?=\d)(?!\d{{3}}(?!\d))                         # 1.5, 5:30, 1,5, not 1,000
    | (?<=\.)(?<![\w.].)(?=\w)                                                    # .NET, .5
    | (?<=!)(?==)                                                                 # 5 != 3
    )
    """,
    re.VERBOSE,
)
_ONE_DASH = {ord(dash): "-" for dash in _DASHES}


class _Table(dict[int, int | str]):
    """A table for `str.translate` that keeps letters, marks, numbers, symbols and `also`, and puts `other` for all
    else."""

    def __init__(self, other: str, also: frozenset[str] = frozenset()) -> None:
        self._other = other
        self._also = also

    def __missing__(self, code: int) -> int | str:
        kept = chr(code) in self._also or unicodedata.category(chr(code)) in _KEPT
        value = code if kept else self._other
        if code <= 0xFFFF:  # so that hostile text cannot grow the table without end
            self[code] = value
        return value


_DROP, _SPACE = _Table("", _SAYING), _Table(" ")


def fold(text: str) -> str:
    """`text` without what does not tell texts apart: letter case, width, white space and most punctuation.

    NFKC, casefold, then letters, marks, numbers and symbols (`+`, `€`, emoji). Of punctuation there remain `%`, `&`,
    `/`, `@`, `\\` and `^`; between digits dashes, points, colons and commas, but for those of thousands; a dash before
    a number that follows no word; `*` between two operands; `#` next to a letter or digit; the point of `.NET` and
    the exclamation mark of `!=`. Hyphens between letters, brackets and quotation marks go. A text of nothing but
    punctuation keeps it; the result is empty for white space alone.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _without_decoration(plain) or "".join(plain.split())


def _without_decoration(plain: str) -> str:
    pieces, end = [], 0
    for sign in _SIGN.finditer(plain):
        pieces += [plain[end : sign.start()].translate(_DROP), sign[0].translate(_ONE_DASH)]
        end = sign.end()
    return "".join([*pieces, plain[end:].translate(_DROP)])


def words(text: str) -> list[str]:
    """The words of `text`, folded; in scripts written without spaces, its characters."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(plain.translate(_SPACE))
