"""Summary of a scored file: counts, distributions, example exchanges, and bounded memory."""

from __future__ import annotations

import statistics
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_integrations.cli.rows import InputRow
from pi_integrations.models import Question, ScoreResult
from pi_integrations.statistics.agreement import Outcomes, paired_bootstrap, roc_auc
from pi_integrations.statistics.comparison import Comparison
from pi_integrations.statistics.distributions import ScoreDistribution
from pi_integrations.statistics.summary import LowestItems, ScoredRow, Summary

SPEC = [Question(question="Is it polite?", label="Polite", weight=3), Question(question="Is it short?")]
STEP = st.integers(0, 10_000).map(lambda step: step / 10_000)


def result(total: float, polite: float | None = None, **fields: object) -> ScoreResult:
    scores = {"Polite": total if polite is None else polite, "Is it short?": 1.0}
    return ScoreResult.model_validate({"question_scores": scores, "total_score": total, **fields})


def scored(number: int, total: float, positive: bool | None = None, text: str = "A") -> ScoredRow:
    return ScoredRow(number, f"r{number}", "Q", text, positive=positive, result=result(total))


def test_summary_counts_rows_scores_and_failures() -> None:
    """Rows are scored or failed; failures that differ in numbers alone are one kind."""
    failed = [ScoredRow(n, None, "", "", error=f"line {n}: the JSON breaks off") for n in (3, 4)]
    summary = Summary.from_rows([scored(1, 0.2), scored(2, 0.4), *failed], SPEC)
    assert (summary.rows, summary.scored, summary.failures.count) == (4, 2, 2)
    assert summary.total.mean == pytest.approx(0.3)
    (group,) = summary.failures.groups
    assert [(one.number, one.message) for one in group.examples] == [
        (3, "line 3: the JSON breaks off"),
        (4, "line 4: the JSON breaks off"),
    ]


def test_a_row_that_could_not_be_read_keeps_its_own_error() -> None:
    """The reader's error wins over whatever the caller adds."""
    assert InputRow(7, error="line 7: bad").scored(error="not sent").error == "line 7: bad"


def test_an_unscored_question_is_counted_with_its_reason_and_not_as_zero() -> None:
    """The mean is that of the scores there are."""
    part = ScoreResult(question_scores={"Is it short?": 0.5}, total_score=0.5, unscored={"Polite": "refused"})
    summary = Summary.from_rows([scored(1, 0.8), ScoredRow(2, None, "Q", "A", result=part)], SPEC)
    polite = summary.questions[0]
    assert (polite.scores.count, polite.scores.mean) == (1, 0.8)
    assert polite.unscored.groups[0].examples[0].message == "refused"


def test_judges_methods_and_usage_are_added_up() -> None:
    """Usage that nobody states stays unknown and does not become 0."""
    made = {"judge": "chat:x", "questions": {"Polite": {"method": "logprobs"}}}
    row = ScoredRow(1, None, "Q", "A", result=result(0.5, provenance=made, usage={"calls": 2, "input_tokens": 10}))
    summary = Summary.from_rows([row, row], SPEC)
    assert dict(summary.judges) == {"chat:x": 2}
    assert dict(summary.questions[0].methods) == {"logprobs": 2}
    assert (summary.usage.calls, summary.usage.input_tokens, summary.usage.cost_usd) == (4, 20, None)


def test_the_worst_exchanges_come_lowest_first_and_ties_in_file_order() -> None:
    """Only as many as asked for are kept."""
    totals = [0.5, 0.1, 0.9, 0.1, 0.3]
    summary = Summary.from_rows([scored(i, total) for i, total in enumerate(totals, 1)], SPEC, keep=3)
    assert [kept.number for kept in summary.worst] == [2, 4, 5]


def test_the_sharpest_disagreements_are_kept_on_both_sides() -> None:
    """Bad ones with the highest totals, good ones with the lowest, five of each."""
    rows = [scored(i, i / 20, positive=i % 2 == 0) for i in range(20)]
    summary = Summary.from_rows(rows, SPEC)
    assert [kept.number for kept in summary.high_bad] == [19, 17, 15, 13, 11]
    assert [kept.number for kept in summary.low_good] == [0, 2, 4, 6, 8]


def test_questions_keep_the_order_and_the_shares_of_the_spec() -> None:
    """Weights 3 and 1 are shares 3/4 and 1/4; a question that only results name comes last and counts for nothing."""
    odd = ScoreResult(question_scores={"Other": 0.1, "Polite": 0.2}, total_score=0.2)
    summary = Summary.from_rows([ScoredRow(1, None, "Q", "A", result=odd)], SPEC)
    assert [(q.question.key, q.question.share) for q in summary.questions] == [
        ("Polite", 0.75),
        ("Is it short?", 0.25),
        ("Other", 0),
    ]


@given(st.lists(st.tuples(STEP, st.booleans()), min_size=1, max_size=50))
def test_counts_give_the_same_statistics_as_the_scores(pairs: list[tuple[float, bool]]) -> None:
    """Mean, percentile, ROC AUC and bins of the counts equal those of the plain list."""
    distribution = ScoreDistribution()
    for score, label in pairs:
        distribution.add(score, positive=label)
    scores, labels = zip(*pairs, strict=True)
    assert distribution.mean == pytest.approx(statistics.fmean(scores))
    assert distribution.roc_auc() == roc_auc(scores, labels)
    assert distribution.percentile(0.5) == sorted(scores)[(len(scores) + 1) // 2 - 1]
    assert sum(one.count for one in distribution.bins(7)) == len(pairs)


def test_bins_include_their_lower_end_and_the_last_one_both() -> None:
    """0.1 of ten bins opens the second; 1 belongs to the last."""
    distribution = ScoreDistribution()
    for score in (0.0, 0.1, 1.0):
        distribution.add(score)
    assert [one.count for one in distribution.bins(10)] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]


@given(st.lists(st.integers(-5, 5), max_size=30), st.integers(1, 8))
def test_lowest_keeps_what_sorting_would_keep(keys: list[int], size: int) -> None:
    """Equal keys stay in the order they came."""
    lowest: LowestItems[tuple[int, int]] = LowestItems(size)
    items = [(key, index) for index, key in enumerate(keys)]
    for key, index in items:
        lowest.add(key, (key, index))
    assert lowest.items == sorted(items)[:size]


def test_ten_thousand_rows_take_the_memory_of_a_few() -> None:
    """Distinct texts of 1,000 characters and distinct errors: only counts and the kept exchanges remain."""
    summary = Summary(SPEC, keep=10)
    for number in range(100):
        summary.add(scored(number, (number % 997) / 1000, text=f"{number}" * 200))
    tracemalloc.start()
    try:
        for number in range(5_000):
            summary.add(scored(number, (number % 997) / 1000, positive=number % 2 == 0, text=f"{number}" * 200))
            summary.add(ScoredRow(number, None, "", "", error=f"broken in way {'x' * (number % 500)}"))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert summary.scored == 5_100
    assert grown < 1e6


@settings(max_examples=25)
@given(st.lists(st.tuples(STEP, STEP), min_size=1, max_size=30))
def test_comparison_equals_the_paired_statistics_of_the_scores(pairs: list[tuple[float, float]]) -> None:
    """Means, difference, interval and outcomes of B − A, for the total and for a question."""
    comparison = Comparison(SPEC, name_a="a", name_b="b")
    for a, b in pairs:
        comparison.add(result(a), result(b))
    differences = [round(b - a, 4) for a, b in pairs]
    expected = paired_bootstrap(differences)
    for scores in (comparison.total, comparison.questions[0][1]):
        difference = scores.difference()
        assert difference is not None
        assert expected is not None
        assert (difference.estimate, difference.low, difference.high) == pytest.approx(
            (expected.estimate, expected.low, expected.high), abs=1e-9
        )
        assert scores.mean_b == pytest.approx(statistics.fmean(b for _, b in pairs))
        wins = sum(difference > 0 for difference in differences)
        ties = sum(difference == 0 for difference in differences)
        assert scores.outcomes == Outcomes(wins, ties, len(pairs) - wins - ties)


def test_a_question_without_a_score_on_one_side_makes_no_pair() -> None:
    """The totals still pair."""
    part = ScoreResult(question_scores={"Is it short?": 0.5}, total_score=0.5, unscored={"Polite": "refused"})
    comparison = Comparison(SPEC, name_a="a", name_b="b")
    comparison.add(part, result(0.7))
    assert [pairs.count for _, pairs in comparison.questions] == [0, 1]
    assert comparison.questions[0][1].difference() is None
    assert comparison.total.count == 1
