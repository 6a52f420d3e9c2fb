"""`calibrate`: the fitted spec, or the given one with the reason, and the report that says what it is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pi_integrations.engine.calibration.fitting import Observations, Strategy, fit
from pi_integrations.engine.calibration.model import SpecModel
from pi_integrations.engine.calibration.validation import FEWEST, Validation, validate
from pi_integrations.models import AggregationMethod, DimensionSpec, Question

__all__ = ["Calibration", "calibrate"]

_UNCHANGED = "the given spec is returned unchanged"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came of a calibration.

    Attributes:
        spec: The calibrated spec, or the given one.
        calibrated: Whether `spec` differs from the given spec.
        report: Plain JSON values: `summary` in words, `computed_on`, and the `figures` of the given spec, out of fold
            and in sample, each with its 95 % interval.
    """

    spec: list[Question] | DimensionSpec
    calibrated: bool
    report: dict[str, Any]


def calibrate(
    spec: Sequence[Question] | DimensionSpec,
    observations: Observations,
    *,
    strategy: Strategy = "FULL",
    aggregation_method: AggregationMethod | None = None,
) -> Calibration:
    """The spec with its curves and weights fitted, if that holds on inputs the fit has not seen; else the given spec.

    Args:
        spec: The given spec, of either generation.
        observations: Raw scores of the spec's questions, with labels, preferences or both.
        strategy: `FULL` fits until it converges, `LITE` for a few steps.
        aggregation_method: The mean of a flat spec; default geometric.

    Example:
        >>> spec = [Question(question="Is it right?")]
        >>> scores = np.array([[0.1], [0.9], [0.4]])
        >>> seen = Observations(scores, ["a", "b", "c"], np.arange(3), np.array([0.0, 1.0, 0.5]), np.empty((0, 2), int))
        >>> calibrate(spec, seen).report["summary"]
        '3 labels and pairs are too few to calibrate with, 5 are needed: the given spec is returned unchanged.'
    """
    given = spec if isinstance(spec, DimensionSpec) else list(spec)
    model = SpecModel(given, aggregation_method)
    usable, computed_on = _usable(model, observations)
    if reason := _hopeless(usable):
        return Calibration(given, False, {"summary": f"{reason}: {_UNCHANGED}.", "computed_on": computed_on})
    found = fit(model, usable, strategy)
    validation = validate(model, usable, found.x, strategy)
    report = {
        "summary": _summary(validation),
        "computed_on": {**computed_on, "inputs": validation.inputs, "folds": validation.folds},
        "gain": validation.gain.plain(),
        "figures": {
            name: {figure: interval.plain() for figure, interval in figures.items()}
            for name, figures in (
                ("given", validation.given),
                ("out_of_fold", validation.out_of_fold),
                ("in_sample", validation.in_sample),
            )
        },
    }
    if found.leanings:
        report["annotators"] = {name: round(leaning, 4) for name, leaning in found.leanings.items()}
    if not validation.holds:
        return Calibration(given, False, report)
    return Calibration(model.fitted_spec(found.x), True, report)


def _usable(model: SpecModel, observations: Observations) -> tuple[Observations, dict[str, Any]]:
    """The observations whose exchanges have a total, and what was counted on the way."""
    known = ~np.isnan(model.totals(observations.scores, np.zeros(model.size)))
    labels = known[observations.rated]
    pairs = known[observations.pairs].all(axis=1) if len(observations.pairs) else np.zeros(0, dtype=bool)
    usable = observations.part(np.concatenate([labels, pairs]))
    directions = Counter((chosen, rejected) for chosen, rejected in usable.pairs.tolist())
    counted = {
        "labels": int(labels.sum()),
        "pairs": int(pairs.sum()),
        "left_out": int((~labels).sum() + (~pairs).sum()),
        "contradictory_pairs": sum(min(n, directions[b, a]) for (a, b), n in directions.items() if a < b),
        "unscored": [int(count) for count in np.isnan(observations.scores).sum(axis=0)],
    }
    return usable, counted


def _hopeless(observations: Observations) -> str | None:
    """Why nothing can be learned, if so."""
    if len(observations) < FEWEST:
        return f"{len(observations)} labels and pairs are too few to calibrate with, {FEWEST} are needed"
    if not len(observations.pairs) and np.ptp(observations.labels) == 0:
        return f"All {len(observations.labels)} labels are the same, so nothing can be learned from them"
    if len(set(observations.input_of)) < 2:
        return "All examples have the same llm_input, so nothing can be checked on an input the fit has not seen"
    return None


def _summary(validation: Validation) -> str:
    gain = validation.gain
    shown = ", ".join(
        f"{name} {validation.out_of_fold[key].estimate:.3f} (given spec {validation.given[key].estimate:.3f})"
        for key, name in (("rmse", "RMSE"), ("pearson", "Pearson"), ("pair_accuracy", "pair accuracy"))
        if key in validation.out_of_fold and key in validation.given
    )
    interval = "no interval" if gain.low is None else f"95 % interval {gain.low:+.4f} to {gain.high:+.4f}"
    outcome = f"On inputs it had not seen, the calibrated spec has {shown}; its loss is lower by {gain.estimate:+.4f}"
    if validation.holds:
        return f"{outcome}, {interval}."
    return f"{outcome}, {interval}, which cannot be distinguished from chance: {_UNCHANGED}."
