"""From verdicts to the response: curves, means, rounding, and what is left out. Values in, values out."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pi_integrations.engine.scoring.rubric import Group, Leaf, Rubric
from pi_integrations.models import AggregationMethod

__all__ = ["GEOMETRIC_FLOOR", "HARMONIC_FLOOR", "NothingScored", "aggregate", "apply_curve", "weighted_mean"]

_DECIMALS = 4

# Scores below the floor count as the floor, so that one zero does not erase every other score (WIRE: Aggregation).
GEOMETRIC_FLOOR = 0.01
HARMONIC_FLOOR = 1e-6


class NothingScored(Exception):
    """No question that counts has a score, so there is no total."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A scored sibling: what it adds to the mean above it."""

    score: float
    weight: float


def aggregate(rubric: Rubric, scores: Sequence[float | None], reasons: Mapping[int, str]) -> dict[str, Any]:
    """The response body's scores: `question_scores` or `dimension_scores`, `total_score`, and `unscored` if any.

    `scores` holds a raw score per leaf in the rubric's order, None where unscored; `reasons` says why by leaf index.
    Unscored questions leave their mean, whose other weights are renormalised; a dimension without any
    leaves the total, and shows what else it has with a total of None.

    Raises:
        NothingScored: when no question with a positive weight has a score.
    """
    totals: list[_Node] = []
    shown: dict[str, dict[str, Any]] = {}
    unscored: dict[str, dict[str, str]] = {}
    start = 0
    for group in rubric.groups:
        indices = range(start, start + len(group.leaves))
        start = indices.stop
        label = group.label or ""
        raw = {leaf.key: scores[i] for i, leaf in zip(indices, group.leaves, strict=True) if scores[i] is not None}
        missing = {leaf.key: reasons[i] for i, leaf in zip(indices, group.leaves, strict=True) if scores[i] is None}
        if missing:
            unscored[label] = missing
        total = _group_total(group, [scores[i] for i in indices])
        if total is not None:
            totals.append(_Node(total, group.weight))
        if raw:
            shown[label] = {
                "subdimension_scores": {key: _rounded(score) for key, score in raw.items()},
                "total_score": None if total is None else _rounded(total),
            }
    total = _mean(AggregationMethod.ARITHMETIC_MEAN, totals)
    if total is None:
        raise NothingScored
    if rubric.flat:
        body: dict[str, Any] = {"question_scores": shown[""]["subdimension_scores"]}
    else:
        body = {"dimension_scores": shown}
    body["total_score"] = _rounded(total)
    if unscored:
        body["unscored"] = unscored[""] if rubric.flat else unscored
    return body


def _group_total(group: Group, scores: Sequence[float | None]) -> float | None:
    counted = [_curved(leaf, score) for leaf, score in zip(group.leaves, scores, strict=True) if score is not None]
    mean = _mean(group.method, counted)
    return None if mean is None else apply_curve(group.knots, mean)


def _curved(leaf: Leaf, score: float) -> _Node:
    return _Node(apply_curve(leaf.knots, score), leaf.weight)


def _mean(method: AggregationMethod, nodes: Sequence[_Node]) -> float | None:
    if not any(node.weight for node in nodes):
        return None
    return weighted_mean(method, [node.score for node in nodes], [node.weight for node in nodes])


def _rounded(score: float | None) -> float:
    assert score is not None
    return round(score, _DECIMALS)


def apply_curve(knots: Sequence[float] | None, score: float) -> float:
    """`score` in [0, 1] sent through the curve with these knots.

    The curve passes through (0, 0), (p_1, 1/(n+1)), …, (p_n, n/(n+1)), (1, 1) and is linear between. Repeated knots
    make a jump and take the upper value there; 0 maps to 0 and 1 to 1 always. No knots: the identity.
    """
    if not knots or score <= 0 or score >= 1:
        return score
    below = bisect_right(knots, score)
    left = knots[below - 1] if below else 0.0
    right = knots[below] if below < len(knots) else 1.0
    return (below + (score - left) / (right - left)) / (len(knots) + 1)


def weighted_mean(method: AggregationMethod, scores: Sequence[float], weights: Sequence[float]) -> float:
    """The weighted mean of `scores`, in [0, 1]; both sequences have the same, positive length."""
    shares = _normalised(weights)
    if method is AggregationMethod.ARITHMETIC_MEAN:
        mean = math.fsum(share * score for score, share in zip(scores, shares, strict=True))
    elif method is AggregationMethod.GEOMETRIC_MEAN:
        logs = (share * math.log(max(score, GEOMETRIC_FLOOR)) for score, share in zip(scores, shares, strict=True))
        mean = math.exp(math.fsum(logs))
    else:
        inverses = (share / max(score, HARMONIC_FLOOR) for score, share in zip(scores, shares, strict=True))
        mean = 1 / math.fsum(inverses)
    return min(max(mean, 0.0), 1.0)


def _normalised(weights: Sequence[float]) -> list[float]:
    largest = max(weights)
    # Dividing by the largest first keeps the sum finite for any finite weights.
    relative = [weight / largest for weight in weights]
    total = math.fsum(relative)
    return [weight / total for weight in relative]
