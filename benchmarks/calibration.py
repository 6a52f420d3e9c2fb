"""Calibration on human ratings it has not seen, beside simpler ways to get there; and how long it takes.

    python benchmarks/calibration.py --data PATH [--labels 1000] [--questions 6]

PATH is a folder that holds `llm_rubric_synth/` (microsoft/LLM-Rubric, MIT): a judge's probabilities of the answers 1 to
4 to nine questions about dialogues, and people's own answers. A question's raw score is the expected answer, scaled to
[0, 1]; the label is a person's overall satisfaction (Q0). Five folds, each dialogue in one of them. RMSE is on the
scale of 1 to 4; "with annotators" adds how far each person rates above or below the others, learned on the other folds.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _tables import print_table
from scipy.optimize import isotonic_regression

from pi_integrations.engine.calibration.fitting import Observations, fit
from pi_integrations.engine.calibration.model import Floats, SpecModel
from pi_integrations.engine.calibration.validation import validate
from pi_integrations.models import AggregationMethod, Question

FOLDS = 5
JUDGED = [f"Q{number}" for number in range(9)]
SPEC = [Question(question=name, label=name) for name in JUDGED]
Predict = Callable[[Observations, Observations], Floats]


def read(folder: Path) -> Observations:
    """Every human rating whose dialogue the judge has answered all nine questions about."""
    expected: dict[str, dict[str, float]] = {}
    with (folder / "gpt-3.5-turbo-16k_synth_evaluations_FIXED.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            shares = np.array([float(row[f"answer{answer}_prob"]) for answer in range(1, 5)])
            expected.setdefault(row["text_id"], {})[row["criterion"]] = float(shares @ np.arange(4) / shares.sum() / 3)
    texts = [text for text, found in expected.items() if all(name in found for name in JUDGED)]
    place = {text: number for number, text in enumerate(texts)}
    with (folder / "human_judges_synth_all_FIXED_ANON.tsv").open() as file:
        rated = [
            row
            for row in csv.DictReader(file, delimiter="\t")
            if row["text_id"] in place and 1 <= float(row["Q0"]) <= 4
        ]
    return Observations(
        scores=np.array([[expected[text][name] for name in JUDGED] for text in texts]),
        inputs=texts,
        rated=np.array([place[row["text_id"]] for row in rated], dtype=np.intp),
        labels=np.array([(float(row["Q0"]) - 1) / 3 for row in rated]),
        pairs=np.empty((0, 2), dtype=np.intp),
        annotators=[row["annotator_id"] for row in rated],
    )


def constant(seen: Observations, new: Observations) -> Floats:
    return np.full(len(new.labels), seen.labels.mean())


def expected_value(seen: Observations, new: Observations) -> Floats:
    return new.scores[new.rated, 0]


def isotonic(seen: Observations, new: Observations) -> Floats:
    order = np.argsort(seen.scores[seen.rated, 0], kind="stable")
    levels = isotonic_regression(seen.labels[order]).x
    return np.interp(new.scores[new.rated, 0], seen.scores[seen.rated, 0][order], levels)


def ridge(seen: Observations, new: Observations) -> Floats:
    rows = seen.scores[seen.rated]
    middle, level = rows.mean(axis=0), seen.labels.mean()
    centred = rows - middle
    weights = np.linalg.solve(centred.T @ centred + np.eye(centred.shape[1]), centred.T @ (seen.labels - level))
    return level + (new.scores[new.rated] - middle) @ weights


def calibrated(seen: Observations, new: Observations) -> Floats:
    model = SpecModel(SPEC, AggregationMethod.ARITHMETIC_MEAN)
    plain = Observations(seen.scores, seen.inputs, seen.rated, seen.labels, seen.pairs)
    return model.totals(new.scores, fit(model, plain).x)[new.rated]


def calibrated_with_annotators(seen: Observations, new: Observations) -> Floats:
    model = SpecModel(SPEC, AggregationMethod.ARITHMETIC_MEAN)
    found = fit(model, seen)
    totals = model.totals(new.scores, found.x)[new.rated]
    return totals + np.array([found.leanings.get(name, 0.0) for name in new.annotators])


def with_intercepts(predict: Predict) -> Predict:
    """The same, and what each annotator's labels are above it on average, shrunk towards 0."""

    def predicted(seen: Observations, new: Observations) -> Floats:
        errors = seen.labels - predict(seen, seen)
        names = np.array(seen.annotators)
        leaning = {name: errors[names == name].sum() / ((names == name).sum() + 1) for name in set(seen.annotators)}
        return predict(seen, new) + np.array([leaning.get(name, 0.0) for name in new.annotators])

    return predicted


METHODS: dict[str, Predict] = {
    "constant": constant,
    "judge's expected value of Q0": expected_value,
    "isotonic on Q0": isotonic,
    "ridge on nine": ridge,
    "calibrated": calibrated,
    "constant, with annotators": with_intercepts(constant),
    "ridge on nine, with annotators": with_intercepts(ridge),
    "calibrated, with annotators": calibrated_with_annotators,
}


def accuracy(observations: Observations) -> None:
    """Prints RMSE and Pearson of every method on held-out dialogues."""
    fold = np.array(
        [int(hashlib.sha256(text.encode()).hexdigest(), 16) % FOLDS for text in observations.input_of], dtype=int
    )
    rows = []
    for name, predict in METHODS.items():
        predicted = np.empty(len(observations.labels))
        for number in range(FOLDS):
            inside = fold == number
            predicted[inside] = predict(observations.part(~inside), observations.part(inside))
        rmse = 3 * np.sqrt(np.mean((predicted - observations.labels) ** 2))
        pearson = np.corrcoef(predicted, observations.labels)[0, 1] if np.ptp(predicted) > 1e-9 else float("nan")
        rows.append([name, f"{rmse:.3f}", f"{pearson:.3f}"])
    count = f"{len(observations.labels)} ratings of {len(observations.inputs)} dialogues"
    print_table(f"Overall satisfaction, {count}, five folds by dialogue", ["method", "RMSE", "Pearson"], rows)


def timing(labels: int, questions: int) -> None:
    """Prints what a fit and the whole report take."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=(labels, questions))
    noisy = np.clip(0.7 * scores[:, 0] ** 2 + 0.3 * scores[:, -1] + rng.normal(0, 0.1, labels), 0, 1)
    empty = np.empty((0, 2), dtype=np.intp)
    seen = Observations(scores, [f"input {number}" for number in range(labels)], np.arange(labels), noisy, empty)
    model = SpecModel([Question(question=f"Question {number}?") for number in range(questions)])
    times = []
    for _ in range(3):
        began = time.perf_counter()
        found = fit(model, seen)
        middle = time.perf_counter()
        validate(model, seen, found.x, "FULL")
        times.append((middle - began, time.perf_counter() - middle))
    fitting, reporting = (float(np.median(each)) for each in zip(*times, strict=True))
    rows = [["fit", f"{fitting:.2f}", "1"], ["report: five fits and intervals", f"{reporting:.2f}", "10"]]
    print_table(f"{questions} questions, {labels} labels, median of three", ["what", "s", "aim"], rows)


def main() -> None:
    """Runs both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=6)
    options = parser.parse_args()
    accuracy(read(options.data / "llm_rubric_synth"))
    timing(options.labels, options.questions)


if __name__ == "__main__":
    main()
