"""Curves and means: known values, and properties that hold for every input."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations.engine.scoring.aggregation import apply_curve, weighted_mean
from pi_integrations.models import AggregationMethod

unit = st.floats(0, 1)
knots = st.lists(unit, max_size=8).map(sorted)
scores_and_weights = st.lists(st.tuples(unit, st.floats(1e-3, 1e3)), min_size=1, max_size=12)
A, G, H = AggregationMethod.ARITHMETIC_MEAN, AggregationMethod.GEOMETRIC_MEAN, AggregationMethod.HARMONIC_MEAN


@pytest.mark.parametrize(("score", "curved"), [(0.5, 0.25), (0.8, 0.5), (0.9, 0.75), (0.25, 0.125), (0, 0), (1, 1)])
def test_documented_curve_values(score: float, curved: float) -> None:
    """Three knots make levels of a quarter: p_k goes to k/4, and half way to p_1 is half of 1/4."""
    assert apply_curve([0.5, 0.8, 0.9], score) == pytest.approx(curved)


def test_repeated_knots_jump_to_the_upper_value() -> None:
    """Two knots at .5 skip the level 1/3: just below is under 1/3, at .5 it is 2/3."""
    assert apply_curve([0.5, 0.5], 0.5) == pytest.approx(2 / 3)
    assert apply_curve([0.5, 0.5], 0.5 - 1e-9) == pytest.approx(1 / 3)


def test_knots_at_the_ends_leave_the_ends_fixed() -> None:
    """0 maps to 0 and 1 to 1 always."""
    for ends in ([0.0, 0.0], [1.0, 1.0], [0.0, 1.0]):
        assert (apply_curve(ends, 0.0), apply_curve(ends, 1.0)) == (0.0, 1.0)


@given(score=unit, count=st.integers(0, 9))
def test_equally_spaced_knots_are_the_identity(score: float, count: int) -> None:
    """The seeds' i/7 for six knots, and any other count."""
    equal = [(i + 1) / (count + 1) for i in range(count)]
    assert apply_curve(equal, score) == pytest.approx(score, abs=1e-9)


@given(knots=knots, low=unit, high=unit)
def test_curves_are_monotone_and_stay_in_the_unit_interval(knots: list[float], low: float, high: float) -> None:
    """A better raw score never curves to a worse one."""
    low, high = sorted((low, high))
    assert 0 <= apply_curve(knots, low) <= apply_curve(knots, high) + 1e-12 <= 1 + 1e-12


@given(pairs=scores_and_weights, method=st.sampled_from(AggregationMethod))
def test_a_mean_lies_between_its_scores(pairs: list[tuple[float, float]], method: AggregationMethod) -> None:
    """Within the extremes, but for the floors of the geometric and harmonic means."""
    scores, weights = zip(*pairs, strict=True)
    floor = {A: 0.0, G: 0.01, H: 1e-6}[method]
    floored = [max(score, floor) for score in scores]
    assert min(floored) - 1e-9 <= weighted_mean(method, scores, weights) <= max(floored) + 1e-9


@given(pairs=scores_and_weights, scale=st.floats(1e-6, 1e6), method=st.sampled_from(AggregationMethod))
def test_only_relative_weights_matter(
    pairs: list[tuple[float, float]], scale: float, method: AggregationMethod
) -> None:
    """Multiplying every weight changes nothing."""
    scores, weights = zip(*pairs, strict=True)
    scaled = [weight * scale for weight in weights]
    assert weighted_mean(method, scores, scaled) == pytest.approx(weighted_mean(method, scores, weights), abs=1e-9)


@given(pairs=scores_and_weights)
def test_harmonic_is_at_most_geometric_is_at_most_arithmetic(pairs: list[tuple[float, float]]) -> None:
    """The inequality of means, for scores above every floor."""
    scores = [max(score, 0.02) for score, _ in pairs]
    weights = [weight for _, weight in pairs]
    means = [weighted_mean(method, scores, weights) for method in (H, G, A)]
    assert means == sorted(means) or max(means) - min(means) < 1e-9


def test_huge_weights_do_not_overflow() -> None:
    """The sum of these weights is infinite; their shares are not."""
    assert weighted_mean(A, [0.0, 1.0], [1e308, 1e308]) == pytest.approx(0.5)


def test_one_zero_does_not_erase_a_geometric_mean() -> None:
    """(0 counts as .01): exp((ln .01 + ln 1) / 2) = .1."""
    assert weighted_mean(G, [0.0, 1.0], [1, 1]) == pytest.approx(0.1)
    assert math.isclose(weighted_mean(H, [0.0, 1.0], [1, 1]), 2 / (1e6 + 1))
