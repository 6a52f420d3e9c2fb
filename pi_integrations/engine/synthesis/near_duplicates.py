"""An index of accepted texts that finds the one most like a new text: MinHash first, then exact comparison."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pi_integrations.engine.synthesis.shingles import Hashes, shingles, shingles_of_each
from pi_integrations.engine.synthesis.signatures import SLOTS, Signature, Signatures, signature_of
from pi_integrations.engine.synthesis.sketches import Sketch, most_similar
from pi_integrations.errors import PiUsageError

__all__ = ["Match", "NearDuplicates"]

_COMPARED = 1000


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier text that is near enough."""

    index: int
    """Its number in the order of adding, from 0."""
    similarity: float
    """In [threshold, 1]."""


class NearDuplicates:
    """Texts added so far, asked for one whose Jaccard similarity of `shingles` to a new text is `threshold` or more.

    Texts that differ in case, punctuation or white space alone have similarity 1 and are always found. Every match is
    verified by `jaccard`, so there are no false positives. MinHash decides which to compare: of texts just at the
    threshold it leaves out about two in a thousand (measured at 0.7), and none to speak of above it by 0.05.
    Answers depend on the texts and their order alone, whatever the process. Not for several threads at once.

        accepted = NearDuplicates()
        accepted.add("How do I reset my password?")
        accepted.similar("how do I reset my password")  # Match(index=0, similarity=1.0)

    Raises:
        PiUsageError: `threshold` is not in (0, 1].
    """

    def __init__(self, threshold: float = 0.7) -> None:
        if not 0 < threshold <= 1:
            raise PiUsageError(f"threshold is {threshold}; a similarity above 0 and up to 1 is needed, such as 0.7")
        self._threshold = threshold
        # Below the threshold by 2.5 standard deviations that the estimate has at most.
        margin = 2.5 * math.sqrt(threshold * (1 - threshold) / SLOTS)
        self._least_agreeing = math.floor((threshold - margin) * SLOTS)
        self._signatures = Signatures()
        self._sketches: list[Sketch] = []
        self._counts = array("q")
        self._last: tuple[str, Hashes, Signature] | None = None

    def __len__(self) -> int:
        return len(self._sketches)

    def similar(self, text: str) -> Match | None:
        """The earlier text most like `text`, the first of equals; None when none reaches the threshold.

        Of more than 1,000 that may reach it, the 1,000 with the highest estimate are compared, so that time is bounded.
        """
        hashes, signature = self._read(text)
        promising = self._promising(len(hashes), signature)
        if not promising:
            return None
        position, similarity = most_similar(Sketch.of(hashes), [self._sketches[index] for index in promising])
        return Match(promising[position], similarity) if similarity >= self._threshold else None

    def add(self, text: str) -> int:
        """Adds `text`, whatever it resembles, and returns its index."""
        self._add(*self._read(text))
        return len(self) - 1

    def extend(self, texts: Iterable[str]) -> None:
        """Adds all `texts`, as `add` would one by one, faster."""
        for hashes in shingles_of_each(texts):
            self._add(hashes, signature_of(hashes))

    def _add(self, hashes: Hashes, signature: Signature) -> None:
        self._signatures.append(signature)
        self._sketches.append(Sketch.of(hashes))
        self._counts.append(len(hashes))
        self._last = None

    def _read(self, text: str) -> tuple[Hashes, Signature]:
        """The shingles and the signature of `text`, kept for the `add` that usually follows `similar`."""
        if self._last is None or self._last[0] != text:
            hashes = shingles(text)
            self._last = (text, hashes, signature_of(hashes))
        return self._last[1:]

    def _promising(self, count: int, signature: Signature) -> list[int]:
        """Ascending indices of the texts worth comparing with one of `count` shingles."""
        agreeing = self._signatures.agreeing(signature)
        found = np.flatnonzero(agreeing >= self._least_agreeing)
        counts = np.frombuffer(self._counts, dtype=np.int64)[found]
        # Jaccard's index is at most the ratio of the sizes.
        found = found[np.minimum(counts, count) >= self._threshold * np.maximum(counts, count)]
        if len(found) > _COMPARED:
            best = np.argsort(-agreeing[found].astype(np.int16), kind="stable")[:_COMPARED]
            found = np.sort(found[best])
        return [int(index) for index in found]
