"""Whether a calibration holds on exchanges it has not seen, and every figure that says so.

Folds are made by a hash of `llm_input`, so that one input is never on both sides and the order of the examples changes
nothing. Every fold is scored by a fit that never saw it. Intervals resample whole inputs (cluster bootstrap, Cameron,
Gelbach & Miller 2008), since exchanges of one input are not independent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pi_integrations.engine.calibration.fitting import Observations, Strategy, fit, losses
from pi_integrations.engine.calibration.model import Floats, SpecModel

__all__ = ["FEWEST", "Interval", "Validation", "validate"]

FEWEST = 5
"""Fewer labels and pairs than this support no change."""
_FOLDS = 5
_RESAMPLES = 1000
_TAIL = 0.025
Clusters = list[npt.NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; no interval where resamples of the inputs give no figure."""

    estimate: float
    low: float | None = None
    high: float | None = None

    def plain(self) -> dict[str, float | None]:
        """The three numbers, rounded to 4 decimals."""
        return {
            name: None if value is None else round(value, 4)
            for name, value in (("estimate", self.estimate), ("low", self.low), ("high", self.high))
        }


@dataclass(frozen=True, slots=True)
class Validation:
    """What a fit is worth on inputs it has not seen.

    Attributes:
        gain: How much lower the out-of-fold loss is than the given spec's, per observation.
        given: Figures of the given spec.
        out_of_fold: Figures of fits that did not see the exchanges they are computed on.
        in_sample: Figures of the final fit on the very observations it was fitted to.
        folds: How many folds there were.
        inputs: How many distinct inputs the observations come from.
    """

    gain: Interval
    given: dict[str, Interval]
    out_of_fold: dict[str, Interval]
    in_sample: dict[str, Interval]
    folds: int
    inputs: int

    @property
    def holds(self) -> bool:
        """Whether the gain can be told from chance: its interval lies above 0."""
        return self.gain.low is not None and self.gain.low > 0


def validate(model: SpecModel, observations: Observations, fitted: Floats, strategy: Strategy) -> Validation:
    """Figures of the given spec, of the final fit, and of fits that did not see what they are measured on.

    Args:
        model: The given spec.
        observations: All of them.
        fitted: Parameters of the final fit, for the in-sample figures.
        strategy: As the final fit was made.
    """
    observations = observations.in_canonical_order()
    folds = _folds(observations)
    used = len(set(folds.tolist()))
    before = model.totals(observations.scores, np.zeros(model.size))
    held_out = _Totals.same(before, observations)
    for fold in sorted(set(folds.tolist())):
        outside = folds != fold
        if used < 2 or not outside.any():  # nothing is left to fit to: these keep the given spec's totals
            continue
        parameters = fit(model, observations.part(outside), strategy).x
        held_out.take(model.totals(observations.scores, parameters), observations, ~outside)
    given = _Totals.same(before, observations)
    final = _Totals.same(model.totals(observations.scores, fitted), observations)
    clusters = _clusters(observations)
    gain = _interval(lambda kept: float(np.nanmean((given.loss - held_out.loss)[kept])), clusters)
    return Validation(
        gain=gain,
        given=_figures(given, observations, clusters),
        out_of_fold=_figures(held_out, observations, clusters),
        in_sample=_figures(final, observations, clusters),
        folds=used,
        inputs=len(clusters),
    )


@dataclass(slots=True)
class _Totals:
    """The total behind each label, the difference behind each pair, and the loss of each observation."""

    rated: Floats
    margins: Floats
    loss: Floats

    @classmethod
    def same(cls, totals: Floats, observations: Observations) -> _Totals:
        """All of them by one set of totals."""
        pairs = observations.pairs
        return cls(totals[observations.rated], totals[pairs[:, 0]] - totals[pairs[:, 1]], losses(totals, observations))

    def take(self, totals: Floats, observations: Observations, kept: npt.NDArray[np.bool_]) -> None:
        """Replaces those observations that are `kept` by what other totals give."""
        other = _Totals.same(totals, observations)
        labels = len(self.rated)
        self.rated[kept[:labels]] = other.rated[kept[:labels]]
        self.margins[kept[labels:]] = other.margins[kept[labels:]]
        self.loss[kept] = other.loss[kept]


def _figures(totals: _Totals, observations: Observations, clusters: Clusters) -> dict[str, Interval]:
    """RMSE, Pearson and Spearman on labels, accuracy on pairs; only those that the observations can give."""
    count = len(observations.labels)

    def on_labels(figure: Callable[[Floats, Floats], float]) -> Callable[[npt.NDArray[np.intp]], float]:
        def computed(kept: npt.NDArray[np.intp]) -> float:
            rows = kept[kept < count]
            predicted, label = totals.rated[rows], observations.labels[rows]
            known = ~np.isnan(predicted)
            return figure(predicted[known], label[known])

        return computed

    def accuracy(kept: npt.NDArray[np.intp]) -> float:
        margins = totals.margins[kept[kept >= count] - count]
        margins = margins[~np.isnan(margins)]
        return float(np.mean((margins > 0) + (margins == 0) / 2)) if len(margins) else np.nan

    wanted: dict[str, Callable[[npt.NDArray[np.intp]], float]] = {}
    if count:
        wanted = {"rmse": on_labels(_rmse), "pearson": on_labels(_pearson), "spearman": on_labels(_spearman)}
    if len(observations.pairs):
        wanted["pair_accuracy"] = accuracy
    found = {name: _interval(figure, clusters) for name, figure in wanted.items()}
    return {name: interval for name, interval in found.items() if not np.isnan(interval.estimate)}


def _rmse(predicted: Floats, labels: Floats) -> float:
    return float(np.sqrt(np.mean((predicted - labels) ** 2))) if len(labels) else np.nan


def _pearson(predicted: Floats, labels: Floats) -> float:
    # Two points always lie on a line, and a constant correlates with nothing.
    if len(labels) < 3 or not (np.ptp(predicted) > 0 and np.ptp(labels) > 0):
        return np.nan
    return float(np.corrcoef(predicted, labels)[0, 1])


def _spearman(predicted: Floats, labels: Floats) -> float:
    return _pearson(stats.rankdata(predicted), stats.rankdata(labels))


def _folds(observations: Observations) -> npt.NDArray[np.intp]:
    """The fold of each observation, by its input alone; as even as the inputs allow."""
    inputs = sorted(set(observations.input_of), key=_digest)
    fold = {text: number % min(_FOLDS, len(inputs)) for number, text in enumerate(inputs)}
    return np.array([fold[text] for text in observations.input_of], dtype=np.intp)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _clusters(observations: Observations) -> Clusters:
    """The observations of each input, inputs in the order of their hashes."""
    members: dict[str, list[int]] = {}
    for number, text in enumerate(observations.input_of):
        members.setdefault(text, []).append(number)
    return [np.array(members[text], dtype=np.intp) for text in sorted(members, key=_digest)]


def _interval(figure: Callable[[npt.NDArray[np.intp]], float], clusters: Clusters) -> Interval:
    """The figure on everything, and its percentiles over resamples of whole inputs."""
    everything = np.concatenate(clusters)
    rng = np.random.default_rng(0)  # seeded: the same examples give the same intervals
    drawn = []
    for _ in range(_RESAMPLES if len(clusters) > 1 else 0):
        kept = np.concatenate([clusters[number] for number in rng.integers(0, len(clusters), len(clusters))])
        drawn.append(figure(kept))
    # A resample may lack what a figure needs, such as labels that differ.
    known = [value for value in drawn if not np.isnan(value)]
    if not known:
        return Interval(figure(everything))
    low, high = np.quantile(known, [_TAIL, 1 - _TAIL])
    return Interval(figure(everything), float(low), float(high))
