"""The HTML report: one inert file that says what happened, whatever the texts in it try."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_integrations.errors import PiUsageError
from pi_integrations.models import Question, ScoreResult
from pi_integrations.reports.score_report import write_report
from pi_integrations.reports.text import visible
from pi_integrations.statistics.comparison import Comparison
from pi_integrations.statistics.summary import ScoredRow, Summary

CREATED = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
CODE = "def score(response_text, input_text, kwargs):\n    return {'score': 1 if response_text < '<b>' else 0}\n"
SPEC = [
    Question(question="Is it polite?", label="Polite", weight=3, parameters=[0.5, 0.8]),
    Question(question="Is it <clean>?", label="Clean", scoring_type="PYTHON_CODE", python_code=CODE),
]
HOSTILE = "</style></pre></details><script>alert(1)</script><img src=x onerror='alert(2)'>\" onload=\"x"


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of <style>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._styles = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._styles += tag == "style"
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        self._styles -= tag == "style"

    def handle_data(self, data: str) -> None:
        self.text += "" if self._styles else data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def result(total: float, judge: str = "chat:x") -> ScoreResult:
    made = {
        "judge": judge,
        "questions": {
            "Polite": {"method": "logprobs", "explanation": "It says thank you."},
            "Clean": {"method": "code"},
        },
    }
    return ScoreResult.model_validate(
        {"question_scores": {"Polite": total, "Clean": 1.0}, "total_score": total, "provenance": made}
    )


def scored(number: int, total: float, positive: bool | None = None, *, text: str = "An answer") -> ScoredRow:
    label = None if positive is None else "good" if positive else "bad"
    return ScoredRow(number, f"id-{number}", "A question", text, label, positive, result(total))


def page_of(folder: Path, summary: Summary, *, title: str = "T", comparison: Comparison | None = None) -> Page:
    path = folder / "report.html"
    write_report(path, summary, title=title, created=CREATED, source="in.jsonl", comparison=comparison)
    return Page(path.read_text(encoding="utf-8"))


def test_report_states_judge_date_counts_and_roc_auc_with_its_interval(tmp_path: Path) -> None:
    """Totals .2 and .9 labelled bad and good: mean .55, separated, and too few to say more."""
    page = page_of(tmp_path, Summary.from_rows([scored(1, 0.2, False), scored(2, 0.9, True)], SPEC))
    for words in ("in.jsonl", "chat:x", "21 November 2026, 09:30 UTC", "1 good, 1 bad", "every resample agrees"):
        assert words in page.words
    assert "Mean total 0.55" in page.words
    assert "ROC AUC against the labels 1.00" in page.words


def test_report_says_that_the_baseline_is_no_judge(tmp_path: Path) -> None:
    """The note stands in the report as it does in the table."""
    row = ScoredRow(1, None, "Q", "A", result=result(0.5, "baseline-1"))
    assert "The baseline is not a judge" in page_of(tmp_path, Summary.from_rows([row], SPEC)).words
    assert "not a judge" not in page_of(tmp_path, Summary.from_rows([scored(1, 0.5)], SPEC)).words


def test_worst_exchanges_come_first_with_the_provenance_of_each_score(tmp_path: Path) -> None:
    """Lowest total first; method and explanation stand beside each score."""
    page = page_of(tmp_path, Summary.from_rows([scored(1, 0.9), scored(2, 0.1), scored(3, 0.5)], SPEC))
    places = [page.words.index(name) for name in ("id-2", "id-3", "id-1")]
    assert places == sorted(places)
    assert "Polite 0.10 logprobs It says thank you. Clean 1.00 code" in page.words


def test_an_unscored_question_shows_its_reason_instead_of_a_number(tmp_path: Path) -> None:
    """Unscored is not 0."""
    part = ScoreResult(question_scores={"Clean": 1.0}, total_score=1.0, unscored={"Polite": "the judge refused"})
    page = page_of(tmp_path, Summary.from_rows([ScoredRow(1, None, "Q", "A", result=part)], SPEC))
    assert "Polite unscored the judge refused" in page.words


def test_failed_rows_are_listed_with_reason_and_place(tmp_path: Path) -> None:
    """Alike failures are one line that names the first rows."""
    rows = [ScoredRow(n, None, "", "", error=f"line {n}: the JSON breaks off") for n in range(4, 11)]
    page = page_of(tmp_path, Summary.from_rows([scored(1, 0.5), *rows], SPEC))
    assert "7 line 4: the JSON breaks off row 4, row 5, row 6, row 7, row 8, …" in page.words
    assert "7 of 8 rows have no score" in page.words


def test_the_spec_stands_at_the_end_with_weights_curves_and_code(tmp_path: Path) -> None:
    """Weight 3 of 4 is 75 %; the knots are written out; the code is text."""
    page = page_of(tmp_path, Summary(SPEC))
    assert "weight 3 · 75.0 % of the total · PI_SCORER · knots 0.5, 0.8" in page.words
    assert "weight 1 · 25.0 % of the total · PYTHON_CODE · counts as it is" in page.words
    assert CODE in page.text


def test_charts_have_a_text_in_place_of_the_picture(tmp_path: Path) -> None:
    """Every picture says in words what it shows, and the numbers behind it can be unfolded."""
    page = page_of(tmp_path, Summary.from_rows([scored(1, 0.2, False), scored(2, 0.9, True)], SPEC))
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(one["role"] == "img" and one["aria-label"] for one in pictures)
    assert pictures[0]["aria-label"] == (
        "Histogram of 2 totals from 0 to 1, mean 0.55. Good: 1, mean 0.90. Bad: 1, mean 0.20."
    )
    assert "0.20 to 0.25 0 1" in page.words


def test_report_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """No scripts, no links out, no sources, and a policy that forbids them besides."""
    summary = Summary.from_rows([scored(1, 0.2, False), scored(2, 0.9, True)], SPEC)
    page = page_of(tmp_path, summary)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\(|\bsrc\s*=", html)
    assert page.count("script") == page.count("link") == page.count("img") == page.count("iframe") == 0
    assert all((attributes["href"] or "").startswith("#") for tag, attributes in page.tags if tag == "a")
    (policy,) = (a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_hostile_text_is_shown_and_inert_wherever_it_stands(tmp_path: Path) -> None:
    """Title, ids, labels, texts, reasons, explanations, questions and code: the page keeps its own elements only."""

    def filled(text: str) -> Page:
        spec = [Question(question=text, label=text), Question(question="Is it?", label="Clean", tag=text)]
        made = {"judge": text, "questions": {text: {"method": text, "explanation": text}}}
        scores = ScoreResult.model_validate(
            {"question_scores": {text: 0.5}, "unscored": {"Clean": text}, "total_score": 0.5, "provenance": made}
        )
        rows = [
            ScoredRow(1, text, text, text, label=text, positive=True, result=scores),
            ScoredRow(2, text, "", "", error=text),
        ]
        comparison = Comparison(spec, name_a=text, name_b=text)
        comparison.add(scores, scores)
        return page_of(tmp_path, Summary.from_rows(rows, spec), title=text, comparison=comparison)

    hostile, harmless = filled(HOSTILE), filled("x" * 90)
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert hostile.text.count(HOSTILE) >= 8


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=80))
def test_any_text_appears_in_its_visible_form(tmp_path: Path, text: str) -> None:
    """Whatever the characters, lone surrogates included, the page is valid UTF-8 and shows them."""
    page = page_of(tmp_path, Summary.from_rows([scored(1, 0.5, text="|" + text + "|")], SPEC))
    shown = visible(text).replace("\r\n", "\n").replace("\r", "\n")
    assert f"|{shown}|" in page.text.replace("\r\n", "\n").replace("\r", "\n")


def test_characters_that_reorder_or_hide_text_are_spelled_out(tmp_path: Path) -> None:
    """A right-to-left override in an answer cannot rearrange the page."""
    page = page_of(tmp_path, Summary.from_rows([scored(1, 0.5, text="a\u202egpj.exe\u2069\x00\x1b[2J\u200b")], SPEC))
    assert "a⟦U+202E⟧gpj.exe⟦U+2069⟧⟦U+0000⟧⟦U+001B⟧[2J⟦U+200B⟧" in page.text
    assert not re.search("[\u202e\u2069\x00\x1b\u200b]", page.text)


def test_long_texts_are_folded_and_huge_ones_cut_with_their_length(tmp_path: Path) -> None:
    """A text of a million characters costs the page 20,000 and says how long it is."""
    rows = [scored(1, 0.1, text="y" * 1_000_000), scored(2, 0.2, text="z" * 5_000)]
    page = page_of(tmp_path, Summary.from_rows(rows, SPEC))
    assert "Show 19,300 more characters" in page.words
    assert "Cut here: the whole text has 1,000,000 characters." in page.words
    assert page.text.count("y") < 21_000
    assert page.text.count("z") >= 5_000
    assert (tmp_path / "report.html").stat().st_size < 200_000


def test_comparison_section_shows_both_means_and_the_interval(tmp_path: Path) -> None:
    """B is better by .1 in each of three pairs."""
    comparison = Comparison(SPEC, name_a="old.jsonl", name_b="new.jsonl")
    for total in (0.2, 0.4, 0.6):
        comparison.add(result(total), result(total + 0.1))
    page = page_of(tmp_path, Summary.from_rows([scored(1, 0.5)], SPEC), comparison=comparison)
    assert "A is old.jsonl, B is new.jsonl: 3 inputs answered in both" in page.words
    assert "Total 0.40 0.50 +0.100 +0.100 to +0.100 3 0 0" in page.words


def test_an_empty_summary_makes_a_report_all_the_same(tmp_path: Path) -> None:
    """Nothing scored: the page says so and shows the spec."""
    page = page_of(tmp_path, Summary(SPEC))
    assert "nothing was scored" in page.words
    assert page.count("article") == 4


def test_a_report_replaces_the_old_one_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    """The draft is renamed into place."""
    (tmp_path / "report.html").write_text("old")
    page_of(tmp_path, Summary(SPEC), title="New title")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "New title" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_says_where_and_leaves_no_draft(tmp_path: Path) -> None:
    """No such folder, or a folder in the place of the file."""
    with pytest.raises(PiUsageError, match=r"cannot write the report to .*missing.*choose a folder"):
        write_report(tmp_path / "missing" / "r.html", Summary(SPEC), title="T", created=CREATED)
    (tmp_path / "taken").mkdir()
    with pytest.raises(PiUsageError, match="cannot write the report"):
        write_report(tmp_path / "taken", Summary(SPEC), title="T", created=CREATED)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
