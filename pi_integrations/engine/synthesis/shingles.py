"""The shingles of a text: its short runs of characters, hashed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from pi_integrations.engine.synthesis.folding import SYLLABIC, fold

__all__ = ["Hashes", "shingles", "shingles_of_each"]

Hashes = npt.NDArray[np.uint32]
"""Hashes of shingles, distinct and in ascending order."""

_Words = npt.NDArray[np.uint64]
_HALF = np.uint64(32)
_SHORT, _LONG = 3, 9
_ONE_LONG_IN = 8
_CHARACTERS_AT_ONCE = 20_000


def shingles(text: str) -> Hashes:
    """The 32-bit hashes of the shingles of `text`: at least one, the same in every process.

    Shingles are all runs of three folded characters, the ends of the text counting as one each, or of two where both
    are Han, kana or Hangul, which say as much as several letters do; and of the runs of nine that neither begin nor
    end with one of those, an eighth, chosen by their hash. The long ones keep long texts apart, since any two hold most
    of the usual runs of three (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, §3.2.2, on choosing the
    length). Time and memory grow with the length of `text`.
    """
    return _together([text])[0]


def shingles_of_each(texts: Iterable[str]) -> Iterator[Hashes]:
    """`shingles` of each text in turn, computed for many texts together, which is two to three times as fast."""
    for batch in _batches(texts):
        yield from _together(batch)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """`texts` in lists of about 20,000 characters: with more at once the work leaves the processor's cache."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= _CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _together(texts: list[str]) -> list[Hashes]:
    codes = [_codes(text) for text in texts]
    owners = np.repeat(np.arange(len(codes), dtype=np.uint64), [len(each) for each in codes])
    joined = np.concatenate(codes).astype(np.uint64)
    tagged = np.unique(np.concatenate([_short_runs(joined, owners), _long_runs(joined, owners)]))
    ends = np.searchsorted(tagged, np.arange(1, len(codes), dtype=np.uint64) << _HALF)
    return np.split(tagged.astype(np.uint32), ends)


def _codes(text: str) -> npt.NDArray[np.uint32]:
    ended = f"\0{fold(text) or chr(0)}\0"
    return np.frombuffer(ended.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _short_runs(codes: _Words, owners: _Words) -> _Words:
    first, second, third = codes[:-2], codes[1:-1], codes[2:]
    third = np.where(_syllabic(first) & _syllabic(second), np.uint64(0), third)
    # A code point has 21 bits, so three fit into 64 and nothing is lost before the hash.
    mixed = _mixed(first | second << np.uint64(21) | third << np.uint64(42))
    return _tagged(mixed, owners, _SHORT, np.ones(len(mixed), dtype=np.bool_))


def _long_runs(codes: _Words, owners: _Words) -> _Words:
    count = max(len(codes) - _LONG + 1, 0)
    packed = np.zeros(count, dtype=np.uint64)
    for start in range(_LONG if count else 0):
        packed = packed * np.uint64(0x9E3779B97F4A7C15) + codes[start : start + count]
    mixed = _mixed(packed)
    letters = ~_syllabic(codes)
    chosen = (mixed % np.uint64(_ONE_LONG_IN) == 0) & letters[:count] & letters[len(codes) - count :]
    return _tagged(mixed, owners, _LONG, chosen)


def _tagged(mixed: _Words, owners: _Words, length: int, chosen: npt.NDArray[np.bool_]) -> _Words:
    """The owner of each chosen run in the upper half, the upper half of its hash in the lower."""
    first = owners[: len(mixed)]
    chosen = chosen & (first == owners[length - 1 :][: len(mixed)])  # within one text
    return first[chosen] << _HALF | mixed[chosen] >> _HALF


def _syllabic(codes: _Words) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(codes), dtype=np.bool_)
    for first, last in SYLLABIC:
        inside |= (codes >= first) & (codes <= last)
    return inside


def _mixed(values: _Words) -> _Words:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64-bit integers."""
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)
