"""The tables in the terminal: they fit, they say who judged, and they act on nobody's terminal."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from pi_integrations.cli.tables import ComparisonTable, ScoreTable
from pi_integrations.models import Question, ScoreResult
from pi_integrations.statistics.comparison import Comparison
from pi_integrations.statistics.summary import ScoredRow, Summary

SPEC = [
    Question(question="Is it polite?", label="Polite", weight=3),
    Question(question="Does the answer deal with everything that the customer asked, in detail and in order?"),
]


def result(score: float, judge: str | None = "chat:x") -> ScoreResult:
    scores = {question.key: score for question in SPEC}
    made = {"judge": judge, "questions": {}} if judge else None
    return ScoreResult.model_validate({"question_scores": scores, "total_score": score, "provenance": made})


def summary_of(judge: str | None = "chat:x", *, labelled: bool = True) -> Summary:
    rows = [
        ScoredRow(i, None, "Q", "A", positive=i % 2 == 0 if labelled else None, result=result(0.1 * i, judge))
        for i in range(10)
    ]
    return Summary.from_rows([*rows, ScoredRow(11, None, "", "", error="line 11: broken")], SPEC)


def printed(table: RenderableType, *, width: int = 120, encoding: str = "utf-8", colours: bool = False) -> str:
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding)
    console = Console(file=file, width=width, force_terminal=colours, color_system="standard" if colours else None)
    console.print(table)
    file.flush()
    return buffer.getvalue().decode(encoding)


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_tables_fit_the_terminal(width: int) -> None:
    """No line is wider than the terminal, even with a question that is a whole sentence."""
    comparison = Comparison(SPEC, name_a="a.jsonl", name_b="b.jsonl")
    comparison.add(result(0.2), result(0.4))
    for table in (ScoreTable(summary_of()), ComparisonTable(comparison)):
        lines = printed(table, width=width).splitlines()
        assert max(cell_len(line) for line in lines) <= width


def test_score_table_gives_each_question_its_share_mean_and_count() -> None:
    """Scores 0, .1 … .9 have the mean .45; one row of eleven failed."""
    text = printed(ScoreTable(summary_of()))
    polite = next(line for line in text.splitlines() if line.startswith("Polite"))
    assert polite.split()[:4] == ["Polite", "model", "75%", "0.45"]
    total = next(line for line in text.splitlines() if line.startswith("Total"))
    assert "10/11" in total
    assert "1 x line 11: broken" in text


def test_roc_auc_is_shown_with_its_interval_and_counts_when_there_are_labels() -> None:
    """Good ones score 0, .2 … .8, bad ones .1, .3 … .9: good beats bad in 0+1+2+3+4 = 10 of 25 pairs."""
    text = words(printed(ScoreTable(summary_of())))
    assert "ROC AUC of the total 0.40, 95 % interval" in text
    assert "5 good and 5 bad" in text
    assert "AUC" not in printed(ScoreTable(summary_of(labelled=False)))


def test_baseline_is_called_what_it_is() -> None:
    """Nobody takes the baseline for a judge, and everybody learns how to get a real one."""
    text = words(printed(ScoreTable(summary_of("baseline-1")), width=80))
    assert "Judge baseline-1" in text
    assert "The baseline is not a judge" in text
    assert "--judge chat:openai:gpt-4.1-mini" in text
    assert "not a judge" not in printed(ScoreTable(summary_of("chat:x")))


def test_a_service_that_names_no_judge_is_shown_as_such() -> None:
    """The hosted service does not say."""
    assert "Judge not named" in printed(ScoreTable(summary_of(None)))


def test_an_empty_file_gives_a_table_without_numbers() -> None:
    """Nothing scored is no error of the table."""
    assert "Total" in printed(ScoreTable(Summary(SPEC)))
    empty = Comparison(SPEC, name_a="a", name_b="b")
    assert "check that llm_input is the same" in words(printed(ComparisonTable(empty)))


def test_colour_goes_to_terminals_only() -> None:
    """Escape codes appear when the console is a terminal with colours and never in a file."""
    table = ScoreTable(summary_of())
    assert "\x1b[" in printed(table, colours=True)
    assert "\x1b" not in printed(table)


def test_tables_are_ascii_where_the_terminal_is() -> None:
    """An ASCII console gets bars and histograms that it can show."""
    comparison = Comparison(SPEC, name_a="a.jsonl", name_b="b.jsonl")
    comparison.add(result(0.2), result(0.4))
    assert "#" in printed(ScoreTable(summary_of()), encoding="ascii")
    assert "B - A" in printed(ComparisonTable(comparison), encoding="ascii")


def test_foreign_text_cannot_drive_the_terminal() -> None:
    """Escape sequences in labels and errors are spelled out."""
    spec = [Question(question="Is it?", label="a\x1b]0;owned\x07")]
    summary = Summary.from_rows([ScoredRow(1, None, "", "", error="bad \x1b[2J")], spec)
    text = printed(ScoreTable(summary))
    assert "\x1b" not in text
    assert "⟦U+001B⟧[2J" in text


def test_comparison_states_the_difference_and_who_wins() -> None:
    """B is better by .1 in every one of 20 pairs, so the interval has no width and B wins 20 times."""
    comparison = Comparison(SPEC, name_a="old.jsonl", name_b="new.jsonl")
    for i in range(20):
        comparison.add(result(i / 40), result(i / 40 + 0.1))
    comparison.unpaired = 3
    text = printed(ComparisonTable(comparison))
    total = next(line for line in text.splitlines() if line.startswith("Total"))
    assert words(total).endswith("+0.100 +0.100 to +0.100 20 0 0")
    assert "B scores higher, by 0.100 on average" in text
    assert "3 rows left out" in text


def test_comparison_that_could_be_chance_says_so() -> None:
    """Differences of both signs that cancel: the interval contains 0."""
    comparison = Comparison(SPEC, name_a="a", name_b="b")
    for i in range(20):
        comparison.add(result(0.5), result(0.5 + (0.1 if i % 2 else -0.1)))
    assert "No difference can be told from chance" in printed(ComparisonTable(comparison))
