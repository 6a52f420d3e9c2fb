"""Calibration: the model scores like the engine, fits never lose on their own data, and held-out figures are honest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from pi_integrations.engine.calibration.calibrate import calibrate
from pi_integrations.engine.calibration.fitting import Observations, fit, losses
from pi_integrations.engine.calibration.model import SpecModel
from pi_integrations.engine.calibration.validation import validate
from pi_integrations.engine.scoring.aggregation import NothingScored, aggregate
from pi_integrations.engine.scoring.rubric import compile_rubric
from pi_integrations.models import AggregationMethod, DimensionSpec, Question, parse_spec

FLAT = [
    Question(question="Is it right?"),
    Question(question="Is it clear?", weight=2, parameters=[0.5, 0.8, 0.9]),
    Question(question="Is it short?", weight=0.5, parameters=[0.2, 0.2, 0.6]),
    Question(question="Is it kind?", weight=0),
]
DIMENSIONS = parse_spec(
    {
        "dimensions": [
            {
                "label": "Content",
                "weight": 3,
                "parameters": [0.3, 0.6],
                "sub_dimensions": [
                    {"label": "Right", "description": "Is it right?", "weight": 2},
                    {"label": "Clear", "description": "Is it clear?", "parameters": [0.1, 0.4]},
                ],
            },
            {"label": "Tone", "sub_dimensions": [{"label": "Kind", "description": "Is it kind?"}]},
        ]
    }
)
CASES: list[tuple[Any, AggregationMethod | None, int]] = [
    *((FLAT, method, 4) for method in AggregationMethod),
    (DIMENSIONS, None, 3),
]


def some_scores(columns: int, rows: int = 60, seed: int = 0) -> Any:
    """Scores with gaps, and the two ends of the scale."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=(rows, columns))
    scores[rng.uniform(size=scores.shape) < 0.2] = np.nan
    scores[0], scores[1] = 0, 1
    return scores


def observed(scores: Any, labels: Any, *, pairs: Any = (), inputs: list[str] | None = None) -> Observations:
    """Labels of the first exchanges, and pairs."""
    return Observations(
        scores=np.asarray(scores, dtype=float),
        inputs=inputs or [f"input {number}" for number in range(len(scores))],
        rated=np.arange(len(labels)),
        labels=np.asarray(labels, dtype=float),
        pairs=np.asarray(pairs, dtype=int).reshape(-1, 2),
    )


def with_signal(count: int, seed: int = 0) -> Observations:
    """Five questions, of which one tells most of the label, on a curve of its own."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=(count, 5))
    labels = np.clip(0.7 * scores[:, 0] ** 2 + 0.3 * scores[:, 1] + rng.normal(0, 0.1, count), 0, 1)
    return observed(scores, labels)


FIVE = [Question(question=f"Question {number}?") for number in range(5)]


@pytest.mark.parametrize(("spec", "method", "columns"), CASES)
def test_the_model_scores_like_the_engine(spec: Any, method: AggregationMethod | None, columns: int) -> None:
    """At zero it is the given spec, and a fitted spec scores as the model does, unscored questions included."""
    model = SpecModel(spec, method)
    scores = some_scores(columns)
    moved = np.random.default_rng(1).normal(size=model.size) * 0.3
    for x, scored_by in ((np.zeros(model.size), spec), (moved, model.fitted_spec(moved))):
        rubric = compile_rubric(scored_by, method)
        for row, total in zip(scores, model.totals(scores, x), strict=True):
            given = [None if np.isnan(score) else float(score) for score in row]
            try:
                expected = aggregate(rubric, given, dict.fromkeys(range(columns), "none"))["total_score"]
            except NothingScored:
                assert np.isnan(total)
                continue
            assert total == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("spec", "method", "columns"), CASES)
def test_gradients_are_those_of_finite_differences(spec: Any, method: AggregationMethod | None, columns: int) -> None:
    """For every mean and both generations."""
    model, scores = SpecModel(spec, method), some_scores(columns)
    rng = np.random.default_rng(2)
    x, upstream = rng.normal(size=model.size) * 0.3, rng.normal(size=len(scores))
    numeric = approx_fprime(x, lambda at: float(np.nansum(upstream * model.totals(scores, at))), 1e-7)
    assert np.abs(model.gradient(scores, x, upstream) - numeric).max() < 1e-5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(5, 30), pairs=st.integers(0, 10))
def test_a_fit_never_loses_to_the_given_spec_on_its_own_observations(seed: int, count: int, pairs: int) -> None:
    """Whatever the labels; its knots do not decrease, and stay in [0, 1]."""
    rng = np.random.default_rng(seed)
    seen = observed(rng.uniform(size=(count, 4)), rng.uniform(size=count), pairs=rng.integers(0, count, (pairs, 2)))
    model = SpecModel(FLAT)
    x = fit(model, seen).x
    before, after = (np.mean(losses(model.totals(seen.scores, at), seen)) for at in (np.zeros(model.size), x))
    assert after <= before + 1e-12
    for question in model.fitted_spec(x):
        assert isinstance(question, Question)
        assert question.parameters == sorted(question.parameters or [])
        assert all(0 <= knot <= 1 for knot in question.parameters or [])


def test_the_order_of_the_examples_changes_nothing() -> None:
    """To the last bit, pairs included."""
    seen = with_signal(40)
    seen = observed(seen.scores, seen.labels, pairs=[(0, 1), (2, 3), (4, 5)])
    order = np.random.default_rng(3).permutation(40)
    place = np.argsort(order)
    shuffled = Observations(
        seen.scores[order],
        [seen.inputs[number] for number in order],
        np.arange(40),
        seen.labels[order],
        place[seen.pairs[::-1]],
    )
    first, second = (calibrate(FIVE, each) for each in (seen, shuffled))
    assert first.spec == second.spec
    assert first.report == second.report


def test_fitting_a_specs_own_totals_changes_nothing() -> None:
    """There is nothing to gain."""
    scores = some_scores(4)
    model = SpecModel(FLAT)
    totals = model.totals(scores, np.zeros(model.size))
    known = ~np.isnan(totals)
    assert not fit(model, observed(scores[known], totals[known])).x.any()


def test_signal_is_found_and_adopted_with_figures_out_of_fold() -> None:
    """A hundred labels: the held-out error is far below the given spec's, and the report says on what."""
    found = calibrate(FIVE, with_signal(100))
    assert found.calibrated
    figures = found.report["figures"]
    assert figures["out_of_fold"]["rmse"]["high"] < figures["given"]["rmse"]["low"]
    assert figures["in_sample"]["rmse"]["estimate"] <= figures["out_of_fold"]["rmse"]["estimate"]
    assert found.report["computed_on"]["labels"] == 100
    assert found.report["computed_on"]["folds"] == 5
    assert isinstance(found.spec, list)
    assert max(found.spec, key=lambda question: question.weight).question == "Question 0?"


def test_shuffled_labels_correlate_with_nothing_out_of_fold() -> None:
    """The held-out Pearson of five shuffles is chance: none of it was seen."""
    pearsons = []
    for seed in range(5):
        seen = with_signal(60, seed)
        shuffled = observed(seen.scores, np.random.default_rng(seed).permutation(seen.labels))
        model = SpecModel(FIVE)
        held_out = validate(model, shuffled, fit(model, shuffled, "LITE").x, "LITE").out_of_fold
        pearsons.append(held_out["pearson"].estimate if "pearson" in held_out else 0.0)
    assert abs(float(np.mean(pearsons))) < 0.2


def test_preferences_alone_are_enough() -> None:
    """Pairs whose chosen answer is better by one question alone."""
    rng = np.random.default_rng(4)
    scores = rng.uniform(size=(160, 5))
    pairs = [(a, b) if scores[a, 0] > scores[b, 0] else (b, a) for a, b in rng.permutation(160).reshape(-1, 2)]
    found = calibrate(FIVE, observed(scores, [], pairs=pairs))
    assert found.calibrated
    accuracy = {name: figures["pair_accuracy"]["estimate"] for name, figures in found.report["figures"].items()}
    assert accuracy["out_of_fold"] > accuracy["given"]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (with_signal(4), "4 labels and pairs are too few"),
        (observed(some_scores(5), np.full(60, 0.5)), "labels are the same"),
        (
            observed(np.random.default_rng(0).uniform(size=(9, 5)), np.arange(9) / 9, inputs=["Hi"] * 9),
            "same llm_input",
        ),
    ],
)
def test_what_cannot_be_learned_from_returns_the_given_spec_and_says_so(seen: Observations, words: str) -> None:
    """No number is made up of too little."""
    found = calibrate(FIVE, seen)
    assert (found.spec, found.calibrated) == (FIVE, False)
    assert words in found.report["summary"]
    assert "returned unchanged" in found.report["summary"]


def test_an_exchange_without_a_score_is_left_out_and_counted() -> None:
    """A question unscored on half the examples is counted too, and the rest is fitted."""
    seen = with_signal(50)
    scores = seen.scores.copy()
    scores[::2, 3] = np.nan
    scores[0] = np.nan
    counted = calibrate(FIVE, observed(scores, seen.labels)).report["computed_on"]
    assert (counted["labels"], counted["left_out"]) == (49, 1)
    assert counted["unscored"] == [1, 1, 1, 25, 1]


def test_annotators_leanings_are_told_apart_from_quality() -> None:
    """One rates a fifth higher than the other; the fit says so and does not bend the curves for it."""
    seen = with_signal(80)
    names = ["kind" if number % 2 else "strict" for number in range(80)]
    shift = np.where(np.arange(80) % 2, 0.1, -0.1)
    labels = np.clip(seen.labels * 0.8 + 0.1 + shift, 0, 1)
    leaning = Observations(seen.scores, seen.inputs, seen.rated, labels, seen.pairs, names)
    found = calibrate(FIVE, leaning).report["annotators"]
    assert found["kind"] - found["strict"] == pytest.approx(0.2, abs=0.08)


def test_both_generations_come_back_as_they_were() -> None:
    """A dimension spec is answered with a dimension spec, whose other fields are kept."""
    rng = np.random.default_rng(5)
    scores = rng.uniform(size=(80, 3))
    found = calibrate(DIMENSIONS, observed(scores, np.clip(scores[:, 0] ** 3, 0, 1)))
    assert found.calibrated and isinstance(found.spec, DimensionSpec)
    assert [each.label for each in found.spec.dimensions] == ["Content", "Tone"]
    assert parse_spec(found.spec.model_dump(mode="json")) == found.spec
