"""The evaluator functions: called as openevals' are, and what they give back."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from questions import CLEAR, POLITE

from pi_integrations import AsyncPiClient, PiStatusError, PiUsageError
from pi_integrations.langchain import create_async_pi_evaluator, create_pi_evaluator
from pi_integrations.models import Usage
from pi_integrations.testing import Verdict, embedded, scripted_client

SPEC: list[dict[str, Any]] = [{"question": POLITE, "label": "Polite", "weight": 2}, {"question": CLEAR}]
DIMENSIONS = {
    "dimensions": [
        {
            "label": "Tone",
            "sub_dimensions": [
                {"label": "Polite", "description": POLITE, "weight": 3},
                {"label": "Clear", "description": CLEAR},
            ],
        }
    ]
}


def by_key(feedback: Any) -> dict[str, Any]:
    return {entry["key"]: entry for entry in feedback}


def test_one_entry_a_question_and_last_the_total(client: AsyncPiClient) -> None:
    """Keys are labels, or the question; scores with judge, method and weight."""
    feedback = create_pi_evaluator(SPEC, client=client, aggregation_method="ARITHMETIC_MEAN")(inputs="Q", outputs="A")
    metadata = {"judge": "scripted/default", "method": "scripted"}
    assert feedback == [
        {"key": "Polite", "score": 0.9, "comment": None, "metadata": {**metadata, "weight": 2.0}},
        {"key": CLEAR, "score": 0.4, "comment": None, "metadata": {**metadata, "weight": 1.0}},
        {
            "key": "pi_score",
            "score": 0.7333,  # (2 · .9 + .4) / 3
            "comment": None,
            "metadata": {"judge": "scripted/default", "aggregation_method": "ARITHMETIC_MEAN"},
        },
    ]


async def test_the_async_twin_gives_the_same(client: AsyncPiClient) -> None:
    """A real coroutine function, which is how LangSmith tells async evaluators."""
    evaluator = create_async_pi_evaluator(SPEC, client=client)
    assert inspect.iscoroutinefunction(evaluator)
    feedback = await evaluator(inputs="Q", outputs="A")
    assert {entry["key"]: entry["score"] for entry in feedback} == {"Polite": 0.9, CLEAR: 0.4, "pi_score": 0.6868}


def test_arguments_are_keywords_only(client: AsyncPiClient) -> None:
    """As in openevals."""
    with pytest.raises(TypeError):
        create_pi_evaluator(SPEC, client=client)("Q", "A")  # type: ignore[misc]


def test_a_dimension_spec_gives_its_sub_dimensions(client: AsyncPiClient) -> None:
    """Keys name both levels; the dimension's own total is metadata of the total."""
    feedback = by_key(create_pi_evaluator(DIMENSIONS, client=client)(inputs="Q", outputs="A"))
    assert {key: entry["score"] for key, entry in feedback.items()} == {
        "Tone / Polite": 0.9,
        "Tone / Clear": 0.4,
        "pi_score": 0.775,  # (3 · .9 + .4) / 4
    }
    assert feedback["Tone / Polite"]["metadata"]["weight"] == 3
    assert feedback["pi_score"]["metadata"]["dimension_scores"] == {"Tone": 0.775}


def test_an_explanation_is_the_comment() -> None:
    """The judge's own words."""
    with scripted_client({POLITE: Verdict(0.9, explanation="It says please.")}) as client:
        feedback = create_pi_evaluator([{"question": POLITE}], client=client)(outputs="A")
    assert feedback[0]["comment"] == "It says please."


def test_an_unscored_question_has_no_score_and_says_why() -> None:
    """None is not 0, and the total says what it leaves out."""
    refused = Verdict.unscored("the judge refused", method="scripted")
    with scripted_client({POLITE: refused, CLEAR: 0.4}) as client:
        feedback = by_key(create_pi_evaluator(SPEC, client=client, unscored="partial")(outputs="A"))
    assert (feedback["Polite"]["score"], feedback["Polite"]["comment"]) == (None, "unscored: the judge refused")
    assert (feedback["pi_score"]["score"], feedback["pi_score"]["metadata"]["unscored"]) == (0.4, ["Polite"])
    assert feedback["pi_score"]["comment"] == "without the unscored questions: Polite"
    assert list(feedback) == ["Polite", CLEAR, "pi_score"]


def test_an_unscored_question_is_an_error_by_default() -> None:
    """Which propagates to the caller."""
    with scripted_client({}) as client, pytest.raises(PiStatusError, match="unscored"):
        create_pi_evaluator(SPEC, client=client)(outputs="A")


def test_the_totals_key_can_be_chosen(client: AsyncPiClient) -> None:
    """And may not be a question's."""
    assert create_pi_evaluator(SPEC, client=client, feedback_key="tone")(outputs="A")[-1]["key"] == "tone"
    with pytest.raises(PiUsageError, match="feedback_key is 'Polite'"):
        create_pi_evaluator(SPEC, client=client, feedback_key="Polite")


def test_the_client_comes_from_the_environment() -> None:
    """Where none is given, at the first score."""
    evaluator = create_pi_evaluator(SPEC)
    with pytest.raises(PiUsageError, match="no Pi endpoint is configured"):
        evaluator(outputs="A")


def test_eight_threads_share_a_sync_and_an_async_evaluator(client: AsyncPiClient) -> None:
    """With short-lived loops, as LangSmith's `evaluate` makes them."""
    evaluator = create_pi_evaluator(SPEC, client=client)
    async_evaluator = create_async_pi_evaluator(SPEC, client=client)

    async def once() -> Any:
        return await async_evaluator(outputs="A")

    def work(_: int) -> list[float]:
        return [feedback[-1]["score"] for _ in range(10) for feedback in (evaluator(outputs="A"), asyncio.run(once()))]

    with ThreadPoolExecutor(8) as pool:
        scores = {score for part in pool.map(work, range(8)) for score in part}
    assert len(scores) == 1


async def test_openevals_takes_them(client: AsyncPiClient) -> None:
    """Its multi-turn simulator calls them with the trajectory and collects their lists."""
    simulators = pytest.importorskip("openevals.simulators")

    def app(message: Any, *, thread_id: str) -> Any:
        return {"role": "assistant", "content": f"You said {message['content']}"}

    def user(trajectory: Any, *, thread_id: str, turn_counter: int) -> Any:
        return {"role": "user", "content": f"turn {turn_counter}"}

    result = simulators.run_multiturn_simulation(
        app=app, user=user, max_turns=2, trajectory_evaluators=[create_pi_evaluator(SPEC, client=client)]
    )
    assert [entry["key"] for entry in result["evaluator_results"]] == ["Polite", CLEAR, "pi_score"]


def test_usage_is_metadata_of_the_total() -> None:
    """Where the judge knows it."""
    verdict = Verdict(0.9, usage=Usage(calls=1, input_tokens=120))
    with scripted_client({POLITE: verdict}) as client:
        feedback = create_pi_evaluator([{"question": POLITE}], client=client)(outputs="A")
    assert feedback[-1]["metadata"]["usage"] == {"calls": 1, "input_tokens": 120}


def test_a_baseline_client_scores_without_any_set_up() -> None:
    """`embedded()` is all it takes."""
    with embedded("baseline") as client:
        feedback = create_pi_evaluator(SPEC, client=client)(inputs="Where is my order?", outputs="On its way.")
    assert all(0 <= entry["score"] <= 1 for entry in feedback if entry["score"] is not None)
