"""Fits a spec's curves and weights to labels, to preferences, or to both.

The loss is the mean over all labels and pairs: squared error for a label, the logistic loss of the difference of two
totals at temperature 0.1 for a pair. A penalty that shrinks with the number of observations holds the fit near the
given spec: a bend in a curve costs more than a slope, and a changed weight costs too. It is zero at the given spec,
so the loss of the fit on its own observations is never above the given spec's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from pi_integrations.engine.calibration.model import Floats, SpecModel

__all__ = ["Fit", "Observations", "fit", "losses"]

Strategy = Literal["LITE", "FULL"]

# Found on judges with signal, by held-out inputs: weaker ones follow the noise of 25 labels, stronger ones never move.
_PENALTY = 0.01
_SIZE, _BEND, _WEIGHT, _LEANING = 0.1, 10.0, 5.0, 1.0
_TEMPERATURE = 0.1  # a pair whose totals differ by this much the wrong way costs 1.3, the right way 0.3
# Bounds of every parameter: a line search may try steps so far that exp overflows, or every gap of a curve vanishes.
_FARTHEST = 20.0
_ITERATIONS: dict[Strategy, int] = {"LITE": 20, "FULL": 500}


@dataclass(frozen=True, slots=True)
class Observations:
    """What is known of some exchanges: the judge's raw scores, and what people said.

    Attributes:
        scores: Raw question scores in [0, 1], shape (exchanges, questions); NaN where unscored.
        inputs: The `llm_input` of each exchange; exchanges of one input always share a fold.
        rated: The exchange that each label is of, shape (labels,).
        labels: The labels, in [0, 1], shape (labels,).
        pairs: Chosen and rejected exchange of each preference, shape (pairs, 2).
        annotators: Who gave each label; empty when that is not known.
    """

    scores: Floats
    inputs: Sequence[str]
    rated: npt.NDArray[np.intp]
    labels: Floats
    pairs: npt.NDArray[np.intp]
    annotators: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels) + len(self.pairs)

    @property
    def input_of(self) -> list[str]:
        """The input behind each observation: of the labels, then of the pairs."""
        return [self.inputs[row] for row in (*self.rated, *self.pairs[:, 0])]

    def part(self, kept: npt.NDArray[np.bool_]) -> Observations:
        """Those of the labels and pairs (in this order) that are `kept`, over the same exchanges."""
        labels = kept[: len(self.labels)]
        return replace(
            self,
            rated=self.rated[labels],
            labels=self.labels[labels],
            pairs=self.pairs[kept[len(self.labels) :]],
            annotators=[name for name, keep in zip(self.annotators, labels, strict=False) if keep],
        )

    def in_canonical_order(self) -> Observations:
        """The same observations, each exchange once, in an order of their own: sums are then equal to the last bit."""
        keys = [
            hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() + row.tobytes()
            for text, row in zip(self.inputs, self.scores, strict=True)
        ]
        used = {*self.rated.tolist(), *self.pairs.ravel().tolist()}
        first = {keys[number]: number for number in sorted(used, reverse=True)}
        kept = [first[key] for key in sorted(first)]
        place = {keys[number]: at for at, number in enumerate(kept)}
        names = list(self.annotators) or [""] * len(self.labels)
        labels = sorted(zip((place[keys[row]] for row in self.rated), self.labels.tolist(), names, strict=True))
        pairs = sorted((place[keys[chosen]], place[keys[rejected]]) for chosen, rejected in self.pairs)
        return Observations(
            scores=self.scores[kept],
            inputs=[self.inputs[number] for number in kept],
            rated=np.array([row for row, _, _ in labels], dtype=np.intp),
            labels=np.array([label for _, label, _ in labels], dtype=np.float64),
            pairs=np.array(pairs, dtype=np.intp).reshape(-1, 2),
            annotators=[name for _, _, name in labels] if self.annotators else (),
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted parameter vector, and each annotator's leaning: how far above the total they rate, on average."""

    x: Floats
    leanings: dict[str, float]


def fit(model: SpecModel, observations: Observations, strategy: Strategy = "FULL") -> Fit:
    """The curves and weights that suit the observations; deterministic, and independent of their order.

    Args:
        model: The given spec; where the fit starts and what the penalty holds it to.
        observations: At least one.
        strategy: `FULL` until it converges, `LITE` for a few steps.
    """
    given = observations.in_canonical_order()
    names = sorted(set(given.annotators))
    by_name = {name: number for number, name in enumerate(names)}
    raters = np.array([by_name[name] for name in given.annotators], dtype=np.intp)
    start = np.zeros(model.size + len(names))
    found = minimize(
        _objective,
        start,
        args=(model, given, raters),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_FARTHEST, _FARTHEST)] * len(start),
        options={"maxiter": _ITERATIONS[strategy], "ftol": 1e-10, "gtol": 1e-7},
    )
    # A line search that gave up may end above its start.
    best = found.x if found.fun <= _objective(start, model, given, raters)[0] else start
    leanings = best[model.size :]
    return Fit(best[: model.size], {name: float(leanings[by_name[name]]) for name in names})


def losses(totals: Floats, observations: Observations) -> Floats:
    """The loss of each observation, labels first; NaN where an exchange has no total."""
    errors = totals[observations.rated] - observations.labels
    chosen, rejected = totals[observations.pairs[:, 0]], totals[observations.pairs[:, 1]]
    return np.concatenate([errors**2, np.logaddexp(0.0, (rejected - chosen) / _TEMPERATURE)])


def _objective(
    parameters: Floats, model: SpecModel, observations: Observations, raters: npt.NDArray[np.intp]
) -> tuple[float, Floats]:
    x, leanings = parameters[: model.size], parameters[model.size :]
    totals = model.totals(observations.scores, x)
    count = max(len(observations), 1)
    errors = totals[observations.rated] + (leanings[raters] if len(raters) else 0.0) - observations.labels
    errors = np.nan_to_num(errors, nan=0.0)  # an exchange without a total pulls nowhere
    margin = (totals[observations.pairs[:, 0]] - totals[observations.pairs[:, 1]]) / _TEMPERATURE
    known = ~np.isnan(margin)
    margin = np.where(known, margin, 0.0)
    loss = (errors @ errors + np.logaddexp(0.0, -margin) @ known) / count
    pull = np.zeros(len(totals))
    # `add.at` and not `+=`, which counts an exchange with several labels once.
    np.add.at(pull, observations.rated, 2 * errors / count)
    # Clipped, since exp overflows from 710 on.
    push = known / (1 + np.exp(np.clip(margin, -500, 500))) / _TEMPERATURE / count
    np.add.at(pull, observations.pairs[:, 0], -push)
    np.add.at(pull, observations.pairs[:, 1], push)
    gradient = np.zeros(len(parameters))
    gradient[: model.size] = model.gradient(observations.scores, x, pull)
    if len(raters):
        np.add.at(gradient, model.size + raters, 2 * errors / count)
    penalty, slope = _penalty(parameters, model)
    return float(loss + penalty * _PENALTY / count), gradient + slope * (_PENALTY / count)


def _penalty(parameters: Floats, model: SpecModel) -> tuple[float, Floats]:
    """What leaving the given spec costs, and its gradient."""
    slope = np.zeros(len(parameters))
    cost = 0.0
    for place in model.smooth:
        theta = parameters[place]
        bends = np.diff(theta, n=2)
        cost += _SIZE * float(theta @ theta) + _BEND * float(bends @ bends)
        slope[place] += 2 * _SIZE * theta
        if len(bends):
            slope[place] += 2 * _BEND * np.convolve(bends, [1.0, -2.0, 1.0])
    for place in model.weights:
        shifts = parameters[place]
        cost += _WEIGHT * float(shifts @ shifts)
        slope[place] += 2 * _WEIGHT * shifts
    leanings = parameters[model.size :]
    slope[model.size :] += 2 * _LEANING * leanings
    return cost + _LEANING * float(leanings @ leanings), slope
