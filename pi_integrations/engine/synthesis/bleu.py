"""Self-BLEU of a small set of tokenised texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["mean_bleu_against_others", "ngrams"]

_ORDER = 4
_UNMATCHED = 0.1

Ngram = tuple[str, ...]


def ngrams(tokens: Sequence[str], n: int) -> list[Ngram]:
    """All runs of `n` tokens, in order; none when there are fewer tokens."""
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


def mean_bleu_against_others(texts: Sequence[Sequence[str]]) -> float:
    """The mean of BLEU-4 of each text with all others as references, in [0, 1].

    BLEU = brevity penalty · (p₁ p₂ p₃ p₄)^¼ (Papineni et al. 2002), where a pₙ without a match counts as 0.1 / (number
    of n-grams) (Chen and Cherry 2014, method 1), and p₁ without a match makes BLEU 0. A text of k < 4 tokens is
    measured up to p_k. Needs two texts or more, and a token or more in each.
    """
    by_order = [_precisions(texts, order) for order in range(1, _ORDER + 1)]
    precisions = [scores[: len(text)] for scores, text in zip(zip(*by_order, strict=True), texts, strict=True)]
    penalties = _brevity_penalties([len(text) for text in texts])
    bleus = [penalty * _geometric_mean(scores) for penalty, scores in zip(penalties, precisions, strict=True)]
    return min(math.fsum(bleus) / len(bleus), 1.0)


def _geometric_mean(precisions: Sequence[float]) -> float:
    if not precisions[0]:
        return 0.0
    return math.exp(math.fsum(map(math.log, precisions)) / len(precisions))


def _precisions(texts: Sequence[Sequence[str]], order: int) -> list[float]:
    """Modified precision of each text: its n-grams, clipped to the most times that one other text has them."""
    counts = [Counter(ngrams(text, order)) for text in texts]
    most = _two_highest(counts)
    return [_precision(count, most, order) for count in counts]


def _precision(count: Counter[Ngram], most: dict[Ngram, tuple[int, int]], order: int) -> float:
    matched = 0
    for ngram, times in count.items():
        first, second = most[ngram]
        matched += min(times, second if times == first else first)
    total = max(count.total(), 1)
    return matched / total if matched else (_UNMATCHED / total if order > 1 else 0.0)


def _two_highest(counts: Sequence[Counter[Ngram]]) -> dict[Ngram, tuple[int, int]]:
    """The highest and the second highest count of each n-gram among the texts; equal where two share the highest."""
    most: dict[Ngram, tuple[int, int]] = {}
    for count in counts:
        for ngram, times in count.items():
            first, second = most.get(ngram, (0, 0))
            most[ngram] = (times, first) if times > first else (first, max(second, times))
    return most


def _brevity_penalties(lengths: Sequence[int]) -> list[float]:
    """exp(1 − r / c) for a text of c tokens where r, the length among the others nearest to c, is greater; else 1.

    Of two lengths equally near the shorter counts.
    """
    ranked = sorted(range(len(lengths)), key=lengths.__getitem__)
    # Only neighbours in the order of length can be nearest.
    gaps = list(pairwise([lengths[position] for position in ranked]))
    penalties = [1.0] * len(lengths)
    for rank, position in enumerate(ranked):
        below = gaps[rank - 1][0] if rank else None
        above = gaps[rank][1] if rank < len(gaps) else None
        own = lengths[position]
        if above is not None and (below is None or above - own < own - below):
            penalties[position] = math.exp(1 - above / own)
    return penalties
