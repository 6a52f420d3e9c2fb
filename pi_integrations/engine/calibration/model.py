"""A scoring spec as a differentiable function: raw question scores in, totals out, and gradients back.

The totals are those of `engine.scoring`: the same curves, floors, means and rules for unscored questions, for whole
arrays of exchanges at a time. What can be fitted are the gaps between the knots of every curve and the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pi_integrations.engine.scoring.aggregation import GEOMETRIC_FLOOR, HARMONIC_FLOOR
from pi_integrations.engine.scoring.rubric import Group, Rubric, compile_rubric
from pi_integrations.models import AggregationMethod, DimensionSpec, Question

__all__ = ["DEFAULT_KNOTS", "Floats", "SpecModel"]

Floats = npt.NDArray[np.float64]

DEFAULT_KNOTS = 6
"""Knots of a curve that had none: as many as the service's own calibrated specs have."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """A curve with its place in the parameter vector: one number for each of its gaps."""

    gaps: Floats
    at: slice

    def fitted(self, x: Floats) -> Floats:
        """The gaps between the knots, each the given one times exp(x), normalised to sum to 1."""
        logs = x[self.at]
        grown = self.gaps * np.exp(logs - logs.max())  # without a difference, and never overflows
        gaps: Floats = grown / grown.sum()
        return gaps


@dataclass(frozen=True, slots=True)
class _Siblings:
    """Nodes under one mean: their given weights and the place of the weights' parameters."""

    weights: Floats
    at: slice
    method: AggregationMethod

    def fitted(self, x: Floats) -> Floats:
        """The weights, each the given one times exp(x); their scale does not matter."""
        weights: Floats = self.weights * np.exp(x[self.at])
        return weights


class SpecModel:
    """Totals of a spec, and their gradients.

    Args:
        spec: The given spec, of either generation.
        method: The mean of a flat spec; default geometric.

    Attributes:
        size: Length of the parameter vector; a vector of zeros is the given spec itself.
        smooth: Parameters of each curve, whose bends a penalty may bound.
        weights: The places of the weights' parameters.

    Example:
        >>> model = SpecModel([Question(question="Is it right?"), Question(question="Is it polite?")])
        >>> [round(float(total), 4) for total in model.totals(np.array([[0.9, 0.4]]), np.zeros(model.size))]
        [0.6]
    """

    def __init__(self, spec: Sequence[Question] | DimensionSpec, method: AggregationMethod | None = None) -> None:
        self.spec = spec
        rubric: Rubric = compile_rubric(spec if isinstance(spec, DimensionSpec) else list(spec), method)
        self.size = 0
        self._leaf_curves = [self._curve(leaf.knots) for leaf in rubric.leaves]
        self._groups: list[tuple[range, _Siblings]] = []
        start = 0
        for group in rubric.groups:
            self._groups.append((range(start, start + len(group.leaves)), self._siblings_of(group)))
            start += len(group.leaves)
        self._group_curves = [] if rubric.flat else [self._curve(group.knots) for group in rubric.groups]
        given = np.array([group.weight for group in rubric.groups], dtype=np.float64)
        self._top = self._siblings(given, AggregationMethod.ARITHMETIC_MEAN)
        self.smooth = [curve.at for curve in (*self._leaf_curves, *self._group_curves)]
        self.weights = [siblings.at for siblings in (*(each for _, each in self._groups), self._top)]

    def _take(self, count: int) -> slice:
        self.size += count
        return slice(self.size - count, self.size)

    def _curve(self, knots: Sequence[float]) -> _Curve:
        ends = [*knots] if knots else [number / (DEFAULT_KNOTS + 1) for number in range(1, DEFAULT_KNOTS + 1)]
        gaps = np.diff(np.array([0.0, *ends, 1.0]))
        return _Curve(gaps, self._take(len(gaps)))

    def _siblings_of(self, group: Group) -> _Siblings:
        return self._siblings(np.array([leaf.weight for leaf in group.leaves], dtype=np.float64), group.method)

    def _siblings(self, weights: Floats, method: AggregationMethod) -> _Siblings:
        return _Siblings(weights / weights.max(), self._take(len(weights)), method)

    def totals(self, scores: Floats, x: Floats) -> Floats:
        """The total of each exchange, NaN where no question that counts has a score.

        Args:
            scores: Raw scores in [0, 1], shape (exchanges, questions); NaN where unscored.
            x: Parameters, shape (size,).
        """
        return self._forward(scores, x)[0]

    def gradient(self, scores: Floats, x: Floats, upstream: Floats) -> Floats:
        """The gradient by `x` of Σ upstream · total; an exchange without a total has no part in it."""
        totals, group_means, curved, means = self._forward(scores, x)
        upstream = np.where(np.isnan(totals), 0.0, upstream)
        result = np.zeros(self.size)
        by_group, result[self._top.at] = _mean_gradient(self._top, x, group_means, totals, upstream)
        for number, (columns, siblings) in enumerate(self._groups):
            passed = by_group[:, number]
            if self._group_curves:
                curve = self._group_curves[number]
                slope, result[curve.at] = _curve_gradient(curve.fitted(x), means[number], passed)
                passed = passed * slope
            inside = curved[:, columns.start : columns.stop]
            by_leaf, result[siblings.at] = _mean_gradient(siblings, x, inside, means[number], passed)
            for place, leaf in enumerate(columns):
                gaps = self._leaf_curves[leaf].fitted(x)
                _, result[self._leaf_curves[leaf].at] = _curve_gradient(gaps, scores[:, leaf], by_leaf[:, place])
        return result

    def _forward(self, scores: Floats, x: Floats) -> tuple[Floats, Floats, Floats, list[Floats]]:
        """Totals, curved means of the groups, curved question scores, and the groups' means before their curves."""
        curved = np.column_stack(
            [_curve(curve.fitted(x), scores[:, number]) for number, curve in enumerate(self._leaf_curves)]
        )
        means = [_mean(each, x, curved[:, columns.start : columns.stop]) for columns, each in self._groups]
        groups = means
        if self._group_curves:
            groups = [_curve(curve.fitted(x), mean) for curve, mean in zip(self._group_curves, means, strict=True)]
        stacked = np.column_stack(groups)
        return _mean(self._top, x, stacked), stacked, curved, means

    def fitted_spec(self, x: Floats, *, decimals: int = 6) -> list[Question] | DimensionSpec:
        """The spec at `x`, as plain data that every client scores alike: knots, and weights whose mean is 1."""
        leaves = [self._knots(curve, x, decimals) for curve in self._leaf_curves]
        weights = [_shares(siblings.fitted(x), decimals) for _, siblings in self._groups]
        if not isinstance(self.spec, DimensionSpec):
            return [
                question.model_copy(update={"parameters": knots, "weight": weight})
                for question, knots, weight in zip(self.spec, leaves, weights[0], strict=True)
            ]
        dimensions = []
        tops = _shares(self._top.fitted(x), decimals)
        for number, (dimension, (columns, _)) in enumerate(zip(self.spec.dimensions, self._groups, strict=True)):
            subs = [
                sub.model_copy(update={"parameters": leaves[leaf], "weight": weight})
                for sub, leaf, weight in zip(dimension.sub_dimensions, columns, weights[number], strict=True)
            ]
            knots = self._knots(self._group_curves[number], x, decimals)
            dimensions.append(
                dimension.model_copy(update={"parameters": knots, "weight": tops[number], "sub_dimensions": subs})
            )
        return self.spec.model_copy(update={"dimensions": dimensions})

    def _knots(self, curve: _Curve, x: Floats, decimals: int) -> list[float]:
        inner = np.cumsum(curve.fitted(x))[:-1]
        # Rounding must not put a knot before the one below it, which a spec refuses.
        return [float(knot) for knot in np.maximum.accumulate(np.clip(np.round(inner, decimals), 0.0, 1.0))]


def _curve(gaps: Floats, scores: Floats) -> Floats:
    """`apply_curve` for an array; NaN stays NaN."""
    index, left = _located(gaps, scores)
    inside = (scores > 0) & (scores < 1)  # every curve leaves 0 and 1 where they are
    with np.errstate(divide="ignore", invalid="ignore"):
        curved = (index + (scores - left) / gaps[index]) / len(gaps)
    result: Floats = np.where(inside, curved, scores)
    return result


def _curve_gradient(gaps: Floats, scores: Floats, upstream: Floats) -> tuple[Floats, Floats]:
    """The curve's slope at each score, and the gradient by the parameters of its gaps of Σ upstream · curve(score)."""
    index, left = _located(gaps, scores)
    inside = (scores > 0) & (scores < 1)
    scale = np.divide(1.0, gaps[index] * len(gaps), out=np.zeros_like(scores), where=inside)
    pull = np.where(inside, upstream, 0.0) * scale
    known = np.where(inside, scores, 0.0)
    # From the softmax of the gaps: each gains score · gap; those below the score lose their size, the score's own gap
    # loses the part of it that lies below the score.
    lost = np.zeros((len(gaps),))
    np.add.at(lost, index, -pull * np.where(inside, scores - left, 0.0))
    above = np.zeros((len(gaps),))
    np.add.at(above, index, pull)
    below = np.cumsum(above[::-1])[::-1] - above
    gradient: Floats = gaps * (pull @ known) - gaps * below + lost
    return np.where(inside, scale, 1.0), gradient


def _located(gaps: Floats, scores: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """The gap each score lies in, and where that begins; on a knot the gap above it."""
    knots = np.cumsum(gaps)[:-1]
    index = np.searchsorted(knots, np.nan_to_num(scores, nan=0.5), side="right")
    return index, np.concatenate([[0.0], knots])[index]


def _mean(siblings: _Siblings, x: Floats, values: Floats) -> Floats:
    """The weighted mean over the siblings that have a value; NaN where none that counts has."""
    shares = _effective(siblings, x, values)
    known = np.nan_to_num(values, nan=1.0)  # any number will do: its share is 0
    if siblings.method is AggregationMethod.ARITHMETIC_MEAN:
        mean = (shares * known).sum(axis=1)
    elif siblings.method is AggregationMethod.GEOMETRIC_MEAN:
        mean = np.exp((shares * np.log(np.maximum(known, GEOMETRIC_FLOOR))).sum(axis=1))
    else:
        with np.errstate(divide="ignore"):
            mean = 1 / (shares / np.maximum(known, HARMONIC_FLOOR)).sum(axis=1)
    result: Floats = np.where(shares.sum(axis=1) > 0, np.clip(mean, 0.0, 1.0), np.nan)
    return result


def _mean_gradient(
    siblings: _Siblings, x: Floats, values: Floats, mean: Floats, upstream: Floats
) -> tuple[Floats, Floats]:
    """Gradients of Σ upstream · mean, by each value and by the parameters of the weights."""
    shares = _effective(siblings, x, values)
    known = np.nan_to_num(values, nan=1.0)
    level = np.nan_to_num(mean, nan=1.0)[:, None]
    pull = np.where(np.isnan(mean), 0.0, upstream)[:, None]
    if siblings.method is AggregationMethod.ARITHMETIC_MEAN:
        slopes, excess = shares, known - level
    elif siblings.method is AggregationMethod.GEOMETRIC_MEAN:
        floored = np.maximum(known, GEOMETRIC_FLOOR)
        slopes = shares * level / floored * (known > GEOMETRIC_FLOOR)  # flat below the floor
        excess = level * (np.log(floored) - np.log(level))
    else:
        floored = np.maximum(known, HARMONIC_FLOOR)
        slopes = shares * level**2 / floored**2 * (known > HARMONIC_FLOOR)
        excess = -(level**2) * (1 / floored - 1 / level)
    by_value: Floats = pull * slopes
    by_weight: Floats = (pull * shares * excess).sum(axis=0)
    return by_value, by_weight


def _effective(siblings: _Siblings, x: Floats, values: Floats) -> Floats:
    """The share of each sibling in the mean, per exchange: those without a value have none."""
    weights = siblings.fitted(x) * ~np.isnan(values)
    sums = weights.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
    return shares


def _shares(weights: Floats, decimals: int) -> list[float]:
    """Weights whose mean is 1, rounded; one that counted still counts."""
    mean = weights / weights.mean()
    return [max(round(float(weight), decimals), 10.0**-decimals) if weight > 0 else 0.0 for weight in mean]
