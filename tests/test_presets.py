"""Presets: questions that a judge can answer, names that do not clash, and a page that says what each catches."""

from __future__ import annotations

import hashlib
import json
import math
import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_integrations import presets
from pi_integrations.errors import PiUsageError
from pi_integrations.models import Question, compose_llm_input, parse_spec
from pi_integrations.presets import CONCISENESS, GROUNDEDNESS, HELPFULNESS, TONE, combine
from pi_integrations.testing import Exchange, scripted_client

PAGE = (Path(__file__).parents[1] / "docs" / "presets.md").read_text(encoding="utf-8")
PRESETS = {name: getattr(presets, name) for name in presets.__all__ if name.isupper()}
QUESTIONS = [pytest.param(question, id=question.label) for spec in PRESETS.values() for question in spec]
weight = st.just(0.0) | st.floats(min_value=1e-6, max_value=1e6)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_spec_of_three_to_six_questions(name: str) -> None:
    """Tagged with its own name, so that a report over several can tell them apart."""
    spec = PRESETS[name]
    assert parse_spec(spec) == list(spec)
    assert 3 <= len(spec) <= 6
    assert {question.tag for question in spec} == {name.lower()}


def test_presets_are_worded_as_they_were() -> None:
    """A changed word changes users' scores: say so in the CHANGELOG when this digest changes."""
    texts = {name: [[q.label, q.weight, q.question, q.tag] for q in PRESETS[name]] for name in sorted(PRESETS)}
    assert (
        hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        == "8476b2bba32cf9d696b28b3042d7d4efec5101ac2562cb098867d63e081e1185"
    )


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_asks_one_thing(question: Question) -> None:
    """One sentence that starts as a yes/no question does and joins no two demands."""
    assert re.match(r"(Is|Are|Do|Does|Can|Could) ", question.question)
    assert question.question.endswith("?")
    assert question.question.count("?") == 1
    assert not re.search(r"\band\b|/|;", question.question)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_label_is_short_enough_for_a_table(question: Question) -> None:
    """At most 40 characters, on one line."""
    assert question.label
    assert len(question.label) <= 40
    assert question.label == question.label.strip()
    assert "\n" not in question.label


@given(st.lists(st.sampled_from(sorted(PRESETS)), min_size=1, unique=True), st.data())
def test_any_presets_combine_in_the_given_proportion(names: list[str], data: st.DataObject) -> None:
    """Each preset's questions add up to its weight and keep their own ratio."""
    weights = data.draw(st.lists(weight, min_size=len(names), max_size=len(names)).filter(any))
    spec = combine(*(PRESETS[name] for name in names), weights=weights)
    assert [question.label for question in spec] == [q.label for name in names for q in PRESETS[name]]
    for name, share in zip(names, weights, strict=True):
        own = [question for question in spec if question.tag == name.lower()]
        assert math.fsum(question.weight for question in own) == pytest.approx(share)
        total = sum(question.weight for question in PRESETS[name])
        ratios = [share * question.weight / total for question in PRESETS[name]]
        assert [question.weight for question in own] == pytest.approx(ratios)


def test_labels_differ_across_presets() -> None:
    """So that any two combine."""
    for one, other in combinations(PRESETS.values(), 2):
        assert len({question.label.casefold() for question in one + other}) == len(one) + len(other)
        assert len({question.question for question in one + other}) == len(one) + len(other)


def test_without_weights_presets_count_the_same() -> None:
    """However many questions each has."""
    spec = combine(HELPFULNESS, [{"question": "Is it in French?", "label": "French"}])
    assert sum(question.weight for question in spec[:-1]) == pytest.approx(1)
    assert spec[-1].weight == 1


def test_combining_leaves_the_presets_as_they_were() -> None:
    """Weights change in the copy only."""
    before = [question.weight for question in TONE]
    combine(TONE, CONCISENESS, weights=(5, 1))
    assert [question.weight for question in TONE] == before


def test_a_question_that_appears_twice_is_refused_by_name() -> None:
    """With the two places it is in."""
    own = [{"question": "Is it polite?", "label": "Courteous"}]
    with pytest.raises(PiUsageError, match=r"'Courteous' is in presets\[1\] and in presets\[2\]"):
        combine(HELPFULNESS, TONE, own)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ((1,), "1 entries for 2 presets"),
        ((1, -1), r"weights\[1\] is -1"),
        ((1, math.nan), r"weights\[1\] is nan"),
        ((0, 0), "weight 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: tuple[float, ...], says: str) -> None:
    """Naming the one at fault."""
    with pytest.raises(PiUsageError, match=says):
        combine(HELPFULNESS, TONE, weights=weights)


def test_a_dimension_spec_does_not_combine() -> None:
    """It has a total of its own."""
    dimensions = {"dimensions": [{"label": "a", "sub_dimensions": [{"label": "b", "description": "Is it?"}]}]}
    with pytest.raises(PiUsageError, match=r"presets\[1\] is a dimension spec"):
        combine(TONE, dimensions)  # type: ignore[arg-type]


def test_combining_nothing_is_refused() -> None:
    """There would be no question to ask."""
    with pytest.raises(PiUsageError, match="at least one question"):
        combine()


def test_a_combination_scores_an_exchange_with_its_context() -> None:
    """Every question reaches the judge, each with the passages in the input."""
    spec = combine(HELPFULNESS, GROUNDEDNESS, weights=(1, 2))
    seen: list[Exchange] = []

    def answer(exchange: Exchange, question: str) -> float:
        seen.append(exchange)
        return 0.25 if question in {grounded.question for grounded in GROUNDEDNESS} else 1.0

    with scripted_client(answer) as client:
        result = client.scoring_system.score(
            llm_input=compose_llm_input("How long?", contexts=["Repairs take a week."]),
            llm_output="A week.",
            scoring_spec=spec,
            aggregation_method="ARITHMETIC_MEAN",
        )
    assert list(result.question_scores or {}) == [question.label for question in spec]
    assert all("[1] Repairs take a week." in exchange.llm_input for exchange in seen)
    assert result.total_score == pytest.approx((1 * 1.0 + 2 * 0.25) / 3)


def rows(name: str) -> list[list[str]]:
    """The cells of the table below a preset's heading on the page."""
    section = re.split(r"^## ", PAGE.partition(f"## {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", section, re.M)[2:]
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_the_page_lists_every_question_with_what_it_catches_and_misses(name: str) -> None:
    """Label, weight and wording as they are sent, in order."""
    listed = rows(name)
    assert [row[:3] for row in listed] == [[q.label, f"{q.weight:g}", q.question] for q in PRESETS[name]]
    assert all(len(row) == 5 and row[3] and row[4] for row in listed)


def test_the_page_begins_with_a_table_of_the_presets() -> None:
    """One row each, with the number of questions."""
    for name, spec in PRESETS.items():
        assert re.search(rf"^\| \[`{name}`\]\(#{name.lower()}\) \| {len(spec)} \|", PAGE, re.MULTILINE)
