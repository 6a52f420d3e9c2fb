"""ROC AUC, paired bootstrap and their intervals: known values with the arithmetic, and properties."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations.statistics.agreement import (
    Outcomes,
    counted_bootstrap,
    counted_roc_auc_interval,
    outcomes,
    paired_bootstrap,
    roc_auc,
    roc_auc_interval,
)

SCORES = st.integers(0, 10_000).map(lambda step: step / 10_000)
LABELLED = st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)
DIFFERENCES = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


def test_roc_auc_counts_pairs_in_order() -> None:
    """Positives .35 and .8, negatives .1 and .4: of the four pairs (.35, .1), (.8, .1), (.8, .4) are in order: 3/4."""
    assert roc_auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == 0.75


def test_roc_auc_counts_a_tie_as_half() -> None:
    """Positives .5 and .9, negatives .5 and .2: pairs ½ (.5, .5) + 1 + 1 + 1 = 3.5 of 4."""
    assert roc_auc([0.5, 0.9, 0.5, 0.2], [True, True, False, False]) == 0.875


def test_roc_auc_needs_both_classes() -> None:
    """Without a negative there is no pair, so there is no number."""
    assert roc_auc([0.1, 0.9], [True, True]) is None
    assert roc_auc([], []) is None
    assert roc_auc_interval([0.1, 0.9], [False, False]) is None


@given(LABELLED)
def test_roc_auc_equals_the_share_of_ordered_pairs(pairs: list[tuple[float, bool]]) -> None:
    """The counting method agrees with comparing every positive with every negative."""
    good = [score for score, label in pairs if label]
    bad = [score for score, label in pairs if not label]
    expected = sum((p > n) + 0.5 * (p == n) for p in good for n in bad) / (len(good) * len(bad))
    assert roc_auc(*zip(*pairs, strict=True)) == pytest.approx(expected)


@given(LABELLED)
def test_roc_auc_does_not_change_under_a_monotone_map(pairs: list[tuple[float, bool]]) -> None:
    """Only the order of scores counts."""
    scores, labels = zip(*pairs, strict=True)
    assert roc_auc([score**3 - 5 for score in scores], labels) == roc_auc(scores, labels)


@given(LABELLED)
def test_swapping_labels_or_negating_scores_gives_the_complement(pairs: list[tuple[float, bool]]) -> None:
    """AUC and 1 − AUC: each ordered pair becomes a disordered one, each tie stays a half."""
    scores, labels = zip(*pairs, strict=True)
    area = roc_auc(scores, labels)
    assert area is not None
    assert roc_auc(scores, [not label for label in labels]) == pytest.approx(1 - area)
    assert roc_auc([-score for score in scores], labels) == pytest.approx(1 - area)


@given(LABELLED)
def test_roc_auc_interval_is_ordered_seeded_and_in_range(pairs: list[tuple[float, bool]]) -> None:
    """The interval lies in [0, 1] around the same estimate, and the same seed gives the same interval."""
    scores, labels = zip(*pairs, strict=True)
    interval = roc_auc_interval(scores, labels, resamples=50, seed=3)
    assert interval is not None
    assert interval.estimate == roc_auc(scores, labels)
    assert 0 <= interval.low <= interval.high <= 1
    assert interval == roc_auc_interval(scores, labels, resamples=50, seed=3)


def test_roc_auc_interval_covers_what_theory_expects() -> None:
    """Two normals one deviation apart have AUC Φ(1/√2) = .7602; 200 + 200 points give a standard error near .024.

    Hanley & McNeil's standard error: Q1 = A/(2−A) = .6131, Q2 = 2A²/(1+A) = .6567,
    SE² = (A(1−A) + 199(Q1−A²) + 199(Q2−A²)) / 40000 = (.182 + 7.02 + 15.67) / 40000, SE = .0239; 2 × 1.96 × SE = .094.
    """
    rng = np.random.default_rng(5)
    scores = np.concatenate([rng.normal(1, 1, 200), rng.normal(0, 1, 200)])
    interval = roc_auc_interval(scores, [True] * 200 + [False] * 200)
    assert interval is not None
    assert interval.low < 0.7602 < interval.high
    assert interval.high - interval.low == pytest.approx(0.094, abs=0.015)


def test_perfect_separation_gives_an_interval_of_no_width() -> None:
    """Every resample of separated classes is separated: the interval says so by low == high."""
    interval = roc_auc_interval([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert interval is not None
    assert (interval.estimate, interval.low, interval.high) == (1.0, 1.0, 1.0)


def test_paired_bootstrap_of_two_differences_has_the_exact_distribution() -> None:
    """Drawing 2 from {0, 1}: means 0, ½, 1 with chances ¼, ½, ¼: the middle 95 % is 0 to 1, the middle 40 % is ½."""
    interval = paired_bootstrap([0.0, 1.0])
    assert interval is not None
    assert (interval.estimate, interval.low, interval.high) == (0.5, 0.0, 1.0)
    narrow = paired_bootstrap([0.0, 1.0], confidence=0.4)
    assert narrow is not None
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_paired_bootstrap_width_follows_the_standard_error() -> None:
    """400 differences of deviation .2: their mean's standard error is .2/√400 = .01, the interval 2 × 1.96 × .01."""
    interval = paired_bootstrap(np.random.default_rng(2).normal(0.05, 0.2, 400))
    assert interval is not None
    assert interval.high - interval.low == pytest.approx(0.039, abs=0.004)


def test_paired_bootstrap_without_pairs_has_no_number() -> None:
    """No pairs, no mean."""
    assert paired_bootstrap([]) is None


@given(DIFFERENCES)
def test_paired_bootstrap_stays_within_the_differences(differences: list[float]) -> None:
    """A mean of resamples never leaves the range of what is resampled."""
    interval = paired_bootstrap(differences, resamples=50)
    assert interval is not None
    assert min(differences) - 1e-9 <= interval.low <= interval.high <= max(differences) + 1e-9
    assert interval.estimate == pytest.approx(np.mean(differences), abs=1e-9)


@given(DIFFERENCES, st.floats(-2, 2))
def test_paired_bootstrap_moves_with_its_differences(differences: list[float], shift: float) -> None:
    """Adding a constant to every difference shifts the estimate and both ends by it."""
    steps = [round(difference, 4) for difference in differences]
    values, counts = np.unique(steps, return_counts=True)
    before = counted_bootstrap(values, counts, resamples=50)
    after = counted_bootstrap(values + shift, counts, resamples=50)
    assert before is not None
    assert after is not None
    for name in ("estimate", "low", "high"):
        assert getattr(after, name) == pytest.approx(getattr(before, name) + shift, abs=1e-9)


def test_outcomes_count_the_signs() -> None:
    """Three wins, one tie, two losses."""
    assert outcomes([0.1, 0.2, 0.3, 0.0, -0.1, -1.0]) == Outcomes(wins=3, ties=1, losses=2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    """NaN has no place in an order, so it is an error and not a number that looks fine."""
    with pytest.raises(ValueError, match="finite"):
        roc_auc([0.5, bad], [True, False])
    with pytest.raises(ValueError, match="finite"):
        paired_bootstrap([bad])


def test_unequal_lengths_are_refused() -> None:
    """A label is missing: saying so beats pairing the rest."""
    with pytest.raises(ValueError, match="2 scores and 1 labels"):
        roc_auc([0.5, 0.6], [True])


def test_a_million_scores_are_resampled_in_bounded_memory() -> None:
    """Counts of 10,001 distinct scores stand for 10⁶ exchanges: resampling takes tens of megabytes, not gigabytes."""
    rng = np.random.default_rng(0)
    positive = rng.multinomial(500_000, np.full(10_001, 1 / 10_001))
    negative = rng.multinomial(500_000, np.full(10_001, 1 / 10_001))
    tracemalloc.start()
    try:
        interval = counted_roc_auc_interval(positive, negative, resamples=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert interval is not None
    assert interval.low < 0.5 < interval.high
    assert peak < 80e6
