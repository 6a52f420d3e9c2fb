"""Agreement of scores with labels (ROC AUC), and paired differences, both with bootstrap intervals.

Everything works on counts of distinct values, so that memory follows the number of distinct scores (the wire rounds
them to 4 decimals) and not the number of exchanges. Resampling is seeded: the same scores give the same interval.

Sources: Hanley & McNeil 1982, "The meaning and use of the area under a ROC curve"; Efron & Tibshirani 1993, "An
Introduction to the Bootstrap", §13 (percentile intervals); Robin et al. 2011, "pROC" (resampling within each class).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Interval",
    "Outcomes",
    "counted_bootstrap",
    "counted_roc_auc",
    "counted_roc_auc_interval",
    "outcomes",
    "paired_bootstrap",
    "roc_auc",
    "roc_auc_interval",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Cells in one block of resamples: 8 MB of counts.
_BLOCK_CELLS = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bootstrap interval.

    `low == high` means that every resample agreed, as when scores separate the labels perfectly; it does not mean that
    the estimate is certain.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Number of pairs whose second member scores higher (wins), the same (ties) and lower (losses)."""

    wins: int
    ties: int
    losses: int


def roc_auc(scores: Sequence[float] | Floats, labels: Sequence[bool] | npt.NDArray[np.bool_]) -> float | None:
    """The probability in [0, 1] that a random positive scores above a random negative, ties counting half.

    `labels` marks the `scores` of the positive class. None unless both classes occur.

    Raises:
        ValueError: when a score is not finite, or when the lengths differ.
    """
    positive, negative = _by_class(scores, labels)
    return counted_roc_auc(positive, negative)


def roc_auc_interval(
    scores: Sequence[float] | Floats,
    labels: Sequence[bool] | npt.NDArray[np.bool_],
    *,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval | None:
    """`roc_auc` with a percentile bootstrap interval, resampled within each class; None unless both classes occur.

    Raises:
        ValueError: when a score is not finite, or when the lengths differ.
    """
    positive, negative = _by_class(scores, labels)
    return counted_roc_auc_interval(positive, negative, resamples=resamples, seed=seed, confidence=confidence)


def counted_roc_auc(positive: Counts, negative: Counts) -> float | None:
    """`roc_auc` from how often each distinct score, in ascending order, occurs in each class."""
    if not positive.sum() or not negative.sum():
        return None
    return float(_areas(positive[None, :], negative[None, :])[0])


def counted_roc_auc_interval(
    positive: Counts, negative: Counts, *, resamples: int = 2_000, seed: int = 0, confidence: float = 0.95
) -> Interval | None:
    """`roc_auc_interval` from how often each distinct score, in ascending order, occurs in each class."""
    area = counted_roc_auc(positive, negative)
    if area is None:
        return None
    rng = np.random.default_rng(seed)
    areas = [
        _areas(_resampled(rng, positive, size), _resampled(rng, negative, size))
        for size in _blocks(resamples, cells=positive.size)
    ]
    return _percentiles(area, np.concatenate(areas), confidence)


def paired_bootstrap(
    differences: Sequence[float] | Floats, *, resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> Interval | None:
    """The mean difference of pairs with its percentile bootstrap interval; None without pairs.

    `differences` holds one number per pair, the second member's score minus the first's, so that resampling keeps pairs
    whole.

    Raises:
        ValueError: when a difference is not finite.
    """
    values, counts = np.unique(_finite(differences), return_counts=True)
    return counted_bootstrap(values, counts, resamples=resamples, seed=seed, confidence=confidence)


def counted_bootstrap(
    values: Floats, counts: Counts, *, resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> Interval | None:
    """The mean of `values`, each occurring `counts` times, with its percentile bootstrap interval; None when empty."""
    total = int(counts.sum())
    if not total:
        return None
    rng = np.random.default_rng(seed)
    means = [_resampled(rng, counts, size) @ values / total for size in _blocks(resamples, cells=values.size)]
    return _percentiles(float(counts @ values / total), np.concatenate(means), confidence)


def outcomes(differences: Sequence[float] | Floats) -> Outcomes:
    """Wins, ties and losses of the second member of each pair; a difference of 0 is a tie."""
    signs = np.sign(_finite(differences))
    return Outcomes(wins=int((signs > 0).sum()), ties=int((signs == 0).sum()), losses=int((signs < 0).sum()))


def _by_class(
    scores: Sequence[float] | Floats, labels: Sequence[bool] | npt.NDArray[np.bool_]
) -> tuple[Counts, Counts]:
    """Counts per distinct score, ascending: of the positive class, of the negative class."""
    finite, positive = _finite(scores), np.asarray(labels, dtype=bool)
    if finite.shape != positive.shape:
        raise ValueError(f"{finite.size} scores and {positive.size} labels; give one label per score")
    distinct, index = np.unique(finite, return_inverse=True)
    return (
        np.bincount(index[positive], minlength=distinct.size),
        np.bincount(index[~positive], minlength=distinct.size),
    )


def _areas(positive: Counts, negative: Counts) -> Floats:
    """The ROC AUC of each row of counts."""
    # The Mann-Whitney statistic: each positive beats the negatives below it, and half of those that tie with it.
    below = np.cumsum(negative, axis=1) - negative
    beaten = (positive * (below + negative / 2)).sum(axis=1)
    area: Floats = beaten / (positive.sum(axis=1) * negative.sum(axis=1))
    return area


def _resampled(rng: np.random.Generator, counts: Counts, size: int) -> Counts:
    """`size` resamples with replacement, as rows of counts."""
    # Drawing n of n values with replacement is one multinomial draw.
    total = counts.sum()
    drawn: Counts = rng.multinomial(total, counts / total, size=size)
    return drawn


def _blocks(resamples: int, *, cells: int) -> Iterator[int]:
    """Block sizes that sum to `resamples`; a block of `cells` columns stays within its memory."""
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it is at least 1")
    block = max(1, _BLOCK_CELLS // max(cells, 1))
    for start in range(0, resamples, block):
        yield min(block, resamples - start)


def _percentiles(estimate: float, resampled: Floats, confidence: float) -> Interval:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it lies between 0 and 1, 0.95 is usual")
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(estimate=estimate, low=float(low), high=float(high))


def _finite(values: Sequence[float] | Floats) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("a score is not a finite number")
    return numbers
