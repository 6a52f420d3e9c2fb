"""How different the texts of a set are from each other: distinct-n, self-BLEU, mean pairwise similarity."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from pi_integrations.engine.synthesis.bleu import mean_bleu_against_others, ngrams
from pi_integrations.engine.synthesis.folding import words
from pi_integrations.engine.synthesis.shingles import shingles_of_each
from pi_integrations.engine.synthesis.sketches import Sketch, jaccard

__all__ = ["Diversity", "DiversityFigures", "Figure", "distinct_n", "mean_pairwise_similarity", "self_bleu"]

SAMPLE = 200
"""Texts drawn for self-BLEU and for pairs, unless told otherwise."""
PAIRS = 1000
"""Pairs compared, at most."""
CHARACTERS = 4000
"""Characters read of each text in a sample, so that the time is bounded."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a set of texts, and what it was computed on."""

    value: float | None
    """None where the figure is undefined."""
    texts: int
    """Texts in the set."""
    computed_on: int
    """Texts that were read for it."""
    pairs: int | None = None
    """Pairs compared, for a figure of pairs."""


@dataclass(frozen=True, slots=True)
class DiversityFigures:
    """The figures of one set, all of the same texts; None where undefined, as for fewer than two texts."""

    distinct_2: float | None
    """In (0, 1]; higher is more diverse. It falls with the number of texts read: compare it where that is alike."""
    self_bleu: float | None
    """In [0, 1]; lower is more diverse. It grows with the number of texts read."""
    mean_pairwise_similarity: float | None
    """In [0, 1]; lower is more diverse."""
    texts: int
    """Texts in the set."""
    computed_on: int
    """Texts that were read, at most the size of the sample."""


def distinct_n(texts: Iterable[str], n: int) -> Figure:
    """Distinct n-grams of words divided by all n-grams of words, in (0, 1], over all texts (Li et al. 2016, §4).

    None when no text has `n` words. In scripts without spaces between words a character counts as a word.
    """
    seen: set[tuple[str, ...]] = set()
    total = count = 0
    for text in texts:
        runs = ngrams(words(text), n)
        seen.update(runs)
        total += len(runs)
        count += 1
    return Figure(len(seen) / total if total else None, count, count)


def self_bleu(texts: Iterable[str], sample: int = SAMPLE, seed: int = 0) -> Figure:
    """The mean BLEU-4 of each sampled text against the other sampled ones, in [0, 1] (Zhu et al. 2018, Texygen).

    The first 4,000 characters of `sample` texts are read, drawn as `Diversity` draws them; texts without a word are
    left out. None for fewer than two. `bleu` has the formula.
    """
    drawn = _drawn(texts, sample, seed)
    return _self_bleu(drawn.sampled(), len(drawn))


def mean_pairwise_similarity(texts: Iterable[str], sample: int = SAMPLE, pairs: int = PAIRS, seed: int = 0) -> Figure:
    """The mean Jaccard similarity of `shingles` over pairs of texts, in [0, 1].

    All pairs of the sampled texts are compared, or `pairs` of them drawn without replacement; of each text the first
    4,000 characters are read. None for fewer than two texts.
    """
    drawn = _drawn(texts, sample, seed)
    return _mean_similarity(drawn.sampled(), len(drawn), pairs, seed)


class Diversity:
    """The figures of texts that come one by one, from a sample of them in bounded memory.

    The sample is uniform, and depends on the texts and `seed` alone, not on their order, whatever the process: of a
    hash of each text and of how often it came before, the `sample` smallest. Adding takes microseconds; `figures` takes
    tenths of a second at most for 200 texts.

        diversity = Diversity()
        diversity.add("How do I reset my password?")
        diversity.figures().computed_on  # 1
    """

    def __init__(self, sample: int = SAMPLE, seed: int = 0) -> None:
        self._size, self._seed = sample, seed
        self._times: Counter[bytes] = Counter()
        self._heap: list[tuple[int, str]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> None:
        """Counts `text` in."""
        self._count += 1
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._times[digest] += 1
        # Negative, since the heap gives up its smallest.
        entry = (-_key(digest, self._times[digest], self._seed), text[:CHARACTERS])
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def sampled(self) -> list[str]:
        """The beginnings of the texts in the sample, in an order that does not depend on the order of adding."""
        return [text for _, text in sorted(self._heap, reverse=True)]

    def figures(self) -> DiversityFigures:
        """All figures of the sample; None for fewer than two texts."""
        texts = self.sampled()
        if len(texts) < 2:
            return DiversityFigures(None, None, None, len(self), len(texts))
        return DiversityFigures(
            distinct_2=distinct_n(texts, 2).value,
            self_bleu=_self_bleu(texts, len(self)).value,
            mean_pairwise_similarity=_mean_similarity(texts, len(self), PAIRS, self._seed).value,
            texts=len(self),
            computed_on=len(texts),
        )


def _drawn(texts: Iterable[str], sample: int, seed: int) -> Diversity:
    drawn = Diversity(sample, seed)
    for text in texts:
        drawn.add(text)
    return drawn


def _key(digest: bytes, times: int, seed: int) -> int:
    keyed = hashlib.blake2b(digest, digest_size=8, key=f"{seed}:{times}".encode()[:64])
    return int.from_bytes(keyed.digest(), "big")


def _self_bleu(sampled: list[str], count: int) -> Figure:
    tokens = [found for text in sampled if (found := words(text))]
    value = mean_bleu_against_others(tokens) if len(tokens) > 1 else None
    return Figure(value, count, len(tokens))


def _mean_similarity(sampled: list[str], count: int, pairs: int, seed: int) -> Figure:
    sketches = [Sketch.of(hashes) for hashes in shingles_of_each(sampled)]
    chosen = list(combinations(sketches, 2))
    if len(chosen) > pairs:
        chosen = random.Random(seed).sample(chosen, pairs)
    total = sum(jaccard(left, right) for left, right in chosen)
    return Figure(total / len(chosen) if chosen else None, count, len(sampled), len(chosen))
