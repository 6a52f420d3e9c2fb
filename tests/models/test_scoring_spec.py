"""What both generations of the scoring spec accept, and how refusals read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pi_integrations.errors import PiUsageError
from pi_integrations.models import DimensionSpec, Question, ScoreRequest, outline, parse_spec

ASK = "Is it polite?"
SUB = {"label": "Polite", "description": ASK}


@dataclass(frozen=True)
class Refused:
    name: str
    spec: Any
    says: tuple[str, ...]


REFUSALS = [
    Refused("empty list", [], ("scoring_spec", "at least one question")),
    Refused("text", "polite?", ("scoring_spec", "list")),
    Refused("blank question", [{"question": "  "}], ("scoring_spec[0].question", "yes/no question")),
    Refused("missing question", [{"label": "x"}], ("scoring_spec[0].question",)),
    Refused("unknown type", [{"question": ASK, "scoring_type": "GPT"}], ("scoring_spec[0].scoring_type", "'GPT'")),
    Refused("negative weight", [{"question": ASK, "weight": -1}], ("scoring_spec[0].weight", "-1")),
    Refused("NaN weight", [{"question": ASK, "weight": float("nan")}], ("scoring_spec[0].weight", "finite")),
    Refused("weights all zero", [{"question": ASK, "weight": 0}], ("weight 0", "positive weight")),
    Refused("unordered knots", [{"question": ASK, "parameters": [0.5, 0.2]}], ("parameters", "knot 1", "sort")),
    Refused("knot above 1", [{"question": ASK, "parameters": [1.5]}], ("parameters", "knot 0", "[0, 1]")),
    Refused("duplicate text", [{"question": ASK}, {"question": ASK}], (repr(ASK), "twice", "label")),
    Refused(
        "duplicate label",
        [{"question": ASK, "label": "a"}, {"question": "Clear?", "label": "a"}],
        ("'a'", "twice", "label"),
    ),
    Refused("code without source", [{"question": ASK, "scoring_type": "PYTHON_CODE"}], ("python_code",)),
    Refused("model without id", [{"question": ASK, "scoring_type": "CUSTOM_MODEL_SCORER"}], ("custom_model_id",)),
    Refused("retired flag", [{"question": ASK, "is_lower_score_desirable": True}], ("is_lower_score_desirable",)),
    Refused("retired remap", [{"question": ASK, "remap_spec": [1]}], ("remap_spec",)),
    Refused("retired action", [{"question": ASK, "action_dimension": {}}], ("action_dimension",)),
    Refused("no dimensions", {"dimensions": []}, ("scoring_spec.dimensions", "at least one dimension")),
    Refused(
        "no sub-dimensions",
        {"dimensions": [{"label": "Tone", "sub_dimensions": []}]},
        ("scoring_spec.dimensions[0].sub_dimensions",),
    ),
    Refused(
        "duplicate sub-dimension",
        {"dimensions": [{"label": "Tone", "sub_dimensions": [SUB, SUB]}]},
        ("'Polite'", "twice"),
    ),
    Refused(
        "duplicate dimension",
        {"dimensions": [{"label": "Tone", "sub_dimensions": [SUB]}] * 2},
        ("'Tone'", "twice"),
    ),
    Refused(
        "dimension weights zero",
        {"dimensions": [{"label": "Tone", "weight": 0, "sub_dimensions": [SUB]}]},
        ("weight 0",),
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_a_wrong_spec_is_refused_by_field_and_remedy(case: Refused) -> None:
    """Every refusal names the field at fault and what to do."""
    with pytest.raises(PiUsageError) as refused:
        parse_spec(case.spec)
    for text in case.says:
        assert text in str(refused.value)


def test_nulls_mean_the_defaults_as_generated_clients_send_them() -> None:
    """`weight`, `scoring_type`, `label` and `parameters` may be null."""
    spec = parse_spec([{"question": ASK, "weight": None, "scoring_type": None, "label": None, "parameters": None}])
    assert isinstance(spec, list)
    assert (spec[0].weight, spec[0].scoring_type, spec[0].key) == (1.0, "PI_SCORER", ASK)


def test_unknown_fields_are_carried_through() -> None:
    """Fields of later generations survive a round trip; retired ones at their default do too."""
    spec = parse_spec([{"question": ASK, "note": {"a": 1}, "is_lower_score_desirable": False}])
    assert isinstance(spec, list)
    assert spec[0].model_dump()["note"] == {"a": 1}


def test_a_judge_question_may_carry_code_and_model_ids() -> None:
    """The service's own example holds all of them on a PI_SCORER question."""
    parse_spec([{"question": ASK, "scoring_type": "PI_SCORER", "python_code": "x", "custom_model_id": "y"}])


def test_the_seed_spec_is_accepted() -> None:
    """Seed 004's dimension spec, as published."""
    spec = parse_spec(
        {
            "name": "Sample Scoring Spec",
            "description": "Write a children's story communicating a simple life lesson.",
            "dimensions": [
                {
                    "description": "dimension1 description",
                    "label": "dimension1",
                    "sub_dimensions": [
                        {
                            "description": "subdimension1 description",
                            "label": "subdimension1",
                            "scoring_type": "PI_SCORER",
                        }
                    ],
                }
            ],
        }
    )
    assert isinstance(spec, DimensionSpec)


def test_another_mean_with_a_dimension_spec_is_refused() -> None:
    """A dimension spec is always arithmetic; saying so is fine."""
    spec = {"dimensions": [{"label": "Tone", "sub_dimensions": [SUB]}]}
    ScoreRequest(llm_input="", llm_output="x", scoring_spec=spec, aggregation_method="arithmetic_mean")
    with pytest.raises(ValueError, match="does not apply to a dimension spec"):
        ScoreRequest(llm_input="", llm_output="x", scoring_spec=spec, aggregation_method="HARMONIC_MEAN")


def test_typed_questions_pass_unchanged() -> None:
    """A spec built from models is taken as it is."""
    question = Question(question=ASK, label="Polite")
    assert parse_spec([question]) == [question]


def test_shares_of_a_dimension_spec_multiply_down() -> None:
    """Dimensions 1 : 3, sub-dimensions 1 : 1 in the second: shares 1/4, 3/8, 3/8, keyed as results key them."""
    sub = {"description": "Is it?"}
    spec = DimensionSpec.model_validate(
        {
            "dimensions": [
                {"label": "A", "weight": 1, "sub_dimensions": [{"label": "x", **sub}]},
                {"label": "B", "weight": 3, "sub_dimensions": [{"label": "y", **sub}, {"label": "z", **sub}]},
            ]
        }
    )
    assert [(q.key, q.share) for q in outline(spec)] == [("A / x", 0.25), ("B / y", 0.375), ("B / z", 0.375)]
