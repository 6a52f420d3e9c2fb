"""Calibration curves: piecewise linear maps of [0, 1] onto itself, given by their x-knots."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["apply_curve"]


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
