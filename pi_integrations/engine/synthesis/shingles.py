"""What is compared of a text: its folded words, and its shingles, the short runs of characters in it."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import numpy.typing as npt

__all__ = ["Hashes", "fold", "shingles", "words"]

Hashes = npt.NDArray[np.uint32]
"""Hashes of shingles, distinct and in ascending order."""

_Codes = npt.NDArray[np.uint64]

# Scripts whose characters stand for syllables or words: Han, kana, Bopomofo, Yi; Hangul; compatibility ideographs; the
# ideographs beyond U+FFFF. Then Thai and Lao, Myanmar, Khmer: letters, written without spaces between words.
_SYLLABIC = ((0x2E80, 0xA4CF), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_UNSPACED = (*_SYLLABIC, (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
_UNSPACED_CLASS = "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSPACED)
_WORD = re.compile(rf"[{_UNSPACED_CLASS}]|[^\s{_UNSPACED_CLASS}]+")

# Unicode categories that are kept: letters, marks, numbers and symbols.
_KEPT = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Sc", "Sm", "So"})
# Punctuation that changes a meaning anywhere, and punctuation that does only where `_SIGN` finds it.
_MEANINGFUL = frozenset("%&/@\\^")
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

_LONG_RUN = 9
# One long run in eight is enough to tell long texts apart, and adds little to the short ones.
_ONE_LONG_RUN_IN = 8


class _Table(dict[int, int | str]):
    """A table for `str.translate` that keeps letters, marks, numbers, symbols and `also`; `other` replaces the rest."""

    def __init__(self, other: str, also: frozenset[str] = frozenset()) -> None:
        self._other = other
        self._also = also

    def __missing__(self, code: int) -> int | str:
        kept = chr(code) in self._also or unicodedata.category(chr(code)) in _KEPT
        value = code if kept else self._other
        if code <= 0xFFFF:  # so that hostile text cannot grow the table without end
            self[code] = value
        return value


_DROP, _SPACE = _Table("", _MEANINGFUL), _Table(" ")


def fold(text: str) -> str:
    """`text` without letter case, width, white space and most punctuation.

    NFKC, casefold, then letters, marks, numbers and symbols (`+`, `€`, emoji). Of punctuation there remain `%`, `&`,
    `/`, `@`, `\\` and `^`; between digits dashes, points, colons and commas, but not separators of thousands; a dash
    before a number that follows no word; `*` between two operands; `#` next to a letter or digit; the point of `.NET`
    and the exclamation mark of `!=`. A text of punctuation alone keeps it; white space alone gives an empty text.
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


def shingles(text: str) -> Hashes:
    """The 32-bit hashes of the shingles of `text`: at least one, the same in every process.

    Shingles are all runs of three folded characters, the ends of the text counting as one each, or of two where both
    are Han, kana or Hangul, which say as much as several letters do; and an eighth, chosen by hash, of the runs of nine
    that neither begin nor end with one of those. The long runs keep long texts apart, since any two hold most of the
    usual runs of three (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, §3.2.2, on choosing the length).
    """
    ended = f"\0{fold(text) or chr(0)}\0"
    codes = np.frombuffer(ended.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    syllabic = np.zeros(len(codes), dtype=np.bool_)
    for first, last in _SYLLABIC:
        syllabic |= (codes >= first) & (codes <= last)
    hashes = np.concatenate([_short_runs(codes, syllabic), _long_runs(codes, syllabic)])
    return np.unique(hashes >> np.uint64(32)).astype(np.uint32)


def _short_runs(codes: _Codes, syllabic: npt.NDArray[np.bool_]) -> _Codes:
    first, second, third = codes[:-2], codes[1:-1], codes[2:]
    third = np.where(syllabic[:-2] & syllabic[1:-1], np.uint64(0), third)
    # A code point has 21 bits, so three fit into 64 and nothing is lost before the hash.
    return _mixed(first | second << np.uint64(21) | third << np.uint64(42))


def _long_runs(codes: _Codes, syllabic: npt.NDArray[np.bool_]) -> _Codes:
    count = max(len(codes) - _LONG_RUN + 1, 0)
    packed = np.zeros(count, dtype=np.uint64)
    for start in range(_LONG_RUN if count else 0):
        packed = packed * np.uint64(0x9E3779B97F4A7C15) + codes[start : start + count]
    mixed = _mixed(packed)
    letters = ~(syllabic[:count] | syllabic[len(codes) - count :])
    chosen: _Codes = mixed[(mixed % np.uint64(_ONE_LONG_RUN_IN) == 0) & letters]
    return chosen


def _mixed(values: _Codes) -> _Codes:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64-bit integers."""
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)
