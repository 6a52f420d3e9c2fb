"""`PiStringEvaluator` and `PiPairwiseStringEvaluator` in LangChain's classic evaluation contract.

Warnings are errors in this suite, so every call here also proves that ordinary use gives none.
"""

from __future__ import annotations

from typing import Any

import pytest
from questions import CLEAR, POLITE

pytest.importorskip("langchain_classic")

from langchain_classic.evaluation import PairwiseStringEvaluator, StringEvaluator

from pi_integrations import AsyncPiClient, PiStatusError, PiUsageError
from pi_integrations.langchain import PiPairwiseStringEvaluator, PiStringEvaluator
from pi_integrations.models import compose_llm_input
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict, scripted_client

SPEC = [{"question": POLITE, "label": "Polite"}, {"question": CLEAR, "label": "Clear"}]
LENGTH = [{"question": "Is it long?", "label": "Long"}]


def by_length(exchange: Exchange, question: str) -> float:
    return len(exchange.llm_output) / 10


@pytest.mark.parametrize("is_async", [False, True])
async def test_strings_get_score_value_reasoning_and_question_scores(client: AsyncPiClient, is_async: bool) -> None:
    """The contract's three keys, and the scores by question."""
    evaluator = PiStringEvaluator(SPEC, client=client)
    given: Any = {"prediction": "A", "input": "Q"}
    result = await evaluator.aevaluate_strings(**given) if is_async else evaluator.evaluate_strings(**given)
    assert result == {
        "score": 0.6,
        "value": None,
        "reasoning": "total 0.6\nPolite: 0.9\nClear: 0.4",
        "question_scores": {"Polite": 0.9, "Clear": 0.4},
    }


def test_it_is_a_string_evaluator_with_a_name(client: AsyncPiClient) -> None:
    """What code written for `load_evaluator` asks of one."""
    evaluator = PiStringEvaluator(SPEC, client=client, evaluation_name="support")
    assert isinstance(evaluator, StringEvaluator)
    assert (evaluator.evaluation_name, evaluator.requires_input, evaluator.requires_reference) == (
        "support",
        True,
        False,
    )


def test_a_reference_and_contexts_enter_the_input(client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """By the one template; callbacks and tags, which chains pass along, do not."""
    evaluator = PiStringEvaluator(SPEC[:1], client=client)
    evaluator.evaluate_strings(
        prediction="A", input="Q", reference="R", contexts=["C"], callbacks=[], tags=["t"], include_run_info=True
    )
    assert judge.asked == [(Exchange(compose_llm_input("Q", contexts=["C"], reference="R"), "A"), POLITE)]


@pytest.mark.parametrize("name", ["evaluate_strings", "evaluate_string_pairs"])
def test_an_input_is_required(client: AsyncPiClient, name: str) -> None:
    """A ValueError, as LangChain's own evaluators raise; the empty string is an input."""
    evaluator: Any = (PiStringEvaluator if name == "evaluate_strings" else PiPairwiseStringEvaluator)(
        SPEC, client=client
    )
    with pytest.raises(ValueError, match="requires an input"):
        getattr(evaluator, name)(prediction="A", prediction_b="B")
    assert getattr(evaluator, name)(prediction="A", prediction_b="B", input="")["score"] is not None


def test_an_explanation_and_an_unscored_question_are_in_the_reasoning() -> None:
    """With the reason, and None for a score."""
    refused = Verdict.unscored("the judge refused", method="scripted")
    with scripted_client({POLITE: Verdict(0.9, explanation="It says please."), CLEAR: refused}) as client:
        result = PiStringEvaluator(SPEC, client=client, unscored="partial").evaluate_strings(prediction="A", input="Q")
    assert result["reasoning"] == "total 0.9\nPolite: 0.9: It says please.\nClear: unscored, the judge refused"
    assert result["question_scores"] == {"Polite": 0.9, "Clear": None}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "value", "score"),
    [("long one", "short", "A", 1), ("short", "long one", "B", 0), ("equal", "equal", None, 0.5)],
)
async def test_the_higher_total_is_preferred(
    first: str, second: str, value: str | None, score: float, is_async: bool
) -> None:
    """A and B as LangChain names them; equal totals are a tie."""
    given: Any = {"prediction": first, "prediction_b": second, "input": "Q"}
    with scripted_client(by_length) as client:
        evaluator = PiPairwiseStringEvaluator(LENGTH, client=client)
        result = (
            await evaluator.aevaluate_string_pairs(**given) if is_async else evaluator.evaluate_string_pairs(**given)
        )
    assert (result["value"], result["score"]) == (value, score)
    assert result["total_scores"] == {"A": len(first) / 10, "B": len(second) / 10}
    assert result["question_scores"]["B"] == {"Long": len(second) / 10}
    assert result["reasoning"].startswith(f"A: total {len(first) / 10}\n")


def test_pairs_get_the_same_input(client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """With the reference, for both answers."""
    evaluator = PiPairwiseStringEvaluator(SPEC[:1], client=client)
    evaluator.evaluate_string_pairs(prediction="A", prediction_b="B", input="Q", reference="R")
    llm_input = compose_llm_input("Q", reference="R")
    assert judge.asked is not None
    assert {exchange for exchange, _ in judge.asked} == {Exchange(llm_input, "A"), Exchange(llm_input, "B")}
    assert isinstance(evaluator, PairwiseStringEvaluator)


async def test_a_failed_pair_raises() -> None:
    """One answer that cannot be scored is no tie."""

    def script(exchange: Exchange, question: str) -> Any:
        return Verdict.unscored("refused", method="scripted") if exchange.llm_output == "B" else 0.5

    with scripted_client(script) as client:
        evaluator = PiPairwiseStringEvaluator(LENGTH, client=client)
        with pytest.raises(PiStatusError, match="refused"):
            await evaluator.aevaluate_string_pairs(prediction="A", prediction_b="B", input="Q")


def test_wrong_options_are_refused_at_construction() -> None:
    """Before anything is scored."""
    with pytest.raises(PiUsageError, match="scoring_spec"):
        PiStringEvaluator([])
