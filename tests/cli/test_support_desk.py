"""The handwritten example data: readable, balanced, and with a spec that does what its README says."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic_monty
import pytest

from pi_integrations.cli.rows import InputRow, read_rows
from pi_integrations.cli.spec_files import load_spec
from pi_integrations.models import Question, ScoringType
from pi_integrations.statistics.agreement import roc_auc

FOLDER = Path(__file__).parents[2] / "cookbook" / "support_desk"


@pytest.fixture(scope="module")
def rows() -> list[InputRow]:
    return list(read_rows(FOLDER / "exchanges.jsonl"))


@pytest.fixture(scope="module")
def code() -> Iterator[Any]:
    """The spec's code question, run by the sandbox that the engine uses."""
    spec = load_spec(FOLDER / "spec.yaml")
    (question,) = (q for q in spec if isinstance(q, Question) and q.scoring_type is ScoringType.PYTHON_CODE)
    with pydantic_monty.Monty() as pool, pool.checkout() as session:
        session.feed_run(question.python_code)

        def run(row: InputRow) -> dict[str, Any]:
            inputs = {"response_text": row.llm_output, "input_text": row.llm_input}
            return dict(session.feed_run("score(response_text, input_text, {})", inputs=inputs))

        yield run


def test_every_exchange_is_read_and_half_are_good(rows: list[InputRow]) -> None:
    """Forty rows without an error, with ids of their own, twenty of each label."""
    assert [row.error for row in rows] == [None] * 40
    assert len({row.id for row in rows}) == 40
    assert sum(bool(row.positive) for row in rows) == 20


def test_every_line_has_the_four_fields_and_no_other() -> None:
    """The file is what a user copies: exactly the documented columns."""
    for line in (FOLDER / "exchanges.jsonl").read_text(encoding="utf-8").splitlines():
        assert list(json.loads(line)) == ["id", "llm_input", "llm_output", "label"]


def test_length_does_not_give_the_label_away(rows: list[InputRow]) -> None:
    """Ranking answers by length is no better than chance, and bad answers are a little longer on average."""
    lengths = [len(row.llm_output) for row in rows]
    labels = [bool(row.positive) for row in rows]
    area = roc_auc(lengths, labels)
    assert area is not None
    assert 0.3 < area < 0.6
    good, bad = ([n for n, label in zip(lengths, labels, strict=True) if label is kind] for kind in (True, False))
    assert statistics.fmean(bad) > statistics.fmean(good)


def test_readme_names_the_fault_of_every_bad_answer_and_of_no_other(rows: list[InputRow]) -> None:
    """The table in the README covers exactly the answers labelled bad, each once."""
    named = re.findall(r"desk-\d\d", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == [row.id for row in rows if not row.positive]


def test_spec_mixes_model_and_code_questions_and_weights() -> None:
    """Six labelled questions, one of them code, one with a curve, weights that differ."""
    spec = load_spec(FOLDER / "spec.yaml")
    assert isinstance(spec, list)
    assert len(spec) == 6
    assert all(question.label for question in spec)
    assert [question.scoring_type for question in spec].count(ScoringType.PYTHON_CODE) == 1
    assert len({question.weight for question in spec}) > 1
    assert any(question.parameters for question in spec)


def test_code_question_passes_good_answers_and_catches_what_only_code_can_tell(rows: list[InputRow], code: Any) -> None:
    """Good answers get 1; the leaked note, template, repetition, cut-off and ramble get .5 or less, with a reason."""
    verdicts = {row.id: code(row) for row in rows}
    assert all(verdicts[row.id]["score"] == 1 for row in rows if row.positive)
    caught = {id for id, verdict in verdicts.items() if verdict["score"] <= 0.5}
    assert caught == {"desk-05", "desk-07", "desk-13", "desk-15", "desk-19"}
    assert all(verdict["explanation"] for verdict in verdicts.values())
