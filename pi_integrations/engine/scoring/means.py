"""Weighted means of scores in [0, 1]. Weights are ≥ 0 with a positive sum and are normalised here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pi_integrations.models import AggregationMethod

__all__ = ["GEOMETRIC_FLOOR", "HARMONIC_FLOOR", "weighted_mean"]

# Scores below the floor count as the floor, so that one zero does not erase every other score (WIRE: Aggregation).
GEOMETRIC_FLOOR = 0.01
HARMONIC_FLOOR = 1e-6


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
