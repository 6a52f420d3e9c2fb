"""What a generation's request may say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pi_integrations.models import GenerateInputsRequest, GeneratePairsRequest, describe, render

PAIR = {"llm_input": "Where is it?", "llm_output": "On its way."}


def fault_of(model: type[GeneratePairsRequest | GenerateInputsRequest], body: dict[str, Any]) -> str:
    """What is said of a wrong body, the same of JSON and of Python values."""
    with pytest.raises(ValidationError) as of_values:
        model.model_validate(body)
    with pytest.raises(ValidationError) as of_json:
        model.model_validate_json(json.dumps(body))
    assert describe(of_values.value) == describe(of_json.value)
    return render(describe(of_values.value))


@pytest.mark.parametrize("text", ["", " \n"])
@pytest.mark.parametrize("output", ["", "On its way."])
def test_a_seed_without_an_input_is_refused(text: str, output: str) -> None:
    """By index and field, with or without an output."""
    body = {"num_pairs_to_generate": 5, "seeds": [PAIR, {"llm_input": text, "llm_output": output}]}
    assert fault_of(GeneratePairsRequest, body).startswith("seeds[1].llm_input: A text is needed")
    assert fault_of(GenerateInputsRequest, {"num_inputs_to_generate": 5, "seeds": ["a", text]}).startswith("seeds[1]: ")


def test_a_seed_without_an_output_is_taken() -> None:
    """Who has inputs alone need not invent responses."""
    body = {"num_pairs_to_generate": 5, "seeds": [{"llm_input": "Where is it?", "llm_output": ""}]}
    assert GeneratePairsRequest.model_validate(body).seeds[0].llm_output == ""


@pytest.mark.parametrize("value", [True, "5"])
@pytest.mark.parametrize("field", ["num_pairs_to_generate", "batch_size", "num_shots", "max_cost_usd"])
def test_numbers_are_numbers(field: str, value: Any) -> None:
    """Neither booleans nor texts with digits."""
    body = {"num_pairs_to_generate": 5, "seeds": [], field: value}
    assert fault_of(GeneratePairsRequest, body) == f"{field}: A number is needed (got {value!r})"


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON has one kind of number, and some encoders write 50.0."""
    body = '{"num_pairs_to_generate": 50.0, "seeds": []}'
    assert GeneratePairsRequest.model_validate_json(body).num_pairs_to_generate == 50
