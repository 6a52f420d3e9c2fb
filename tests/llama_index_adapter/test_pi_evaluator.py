"""PiEvaluator: with LlamaIndex's own response types and BatchEvalRunner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from in_memory_engines import ANSWER, PASSAGES, in_thread, query_engine
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.evaluation import BatchEvalRunner
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import BaseModel

from pi_integrations import AsyncPiClient, PiStatusError, PiUsageError
from pi_integrations.llama_index import PiEvaluationResult, PiEvaluator
from pi_integrations.testing import Exchange, ScriptedJudge, Verdict, scripted_client

POLITE = {"question": "Is the answer polite?"}
CLEAR = {"question": "Is the answer clear?"}
QUERY = "How long does a repair take?"
WITH_CONTEXT = f"### Context\n[1] {PASSAGES[0]}\n\n### Input\n{QUERY}"
SOURCES = [NodeWithScore(node=TextNode(text=PASSAGES[0]))]


class Duration(BaseModel):
    """A structured answer."""

    weeks: int


def words() -> Generator[str, None, None]:
    yield from ("One ", "week.")


async def awords() -> AsyncGenerator[str, None]:
    for word in words():
        await asyncio.sleep(0)
        yield word


def responses() -> dict[str, tuple[RESPONSE_TYPE, str]]:
    """One of each type, and the text it stands for."""
    return {
        "plain": (Response("One week.", SOURCES), "One week."),
        "pydantic": (PydanticResponse(Duration(weeks=1), SOURCES), '{"weeks":1}'),
        "streaming": (StreamingResponse(words(), SOURCES), "One week."),
        "async streaming": (AsyncStreamingResponse(awords(), SOURCES), "One week."),
    }


KINDS = ["plain", "pydantic", "streaming", "async streaming"]


def test_a_result_has_the_total_and_every_question(client: AsyncPiClient) -> None:
    """Score, passing, feedback with the lowest question first, provenance."""
    result = PiEvaluator([POLITE, CLEAR], client=client).evaluate(QUERY, ANSWER)
    assert isinstance(result, PiEvaluationResult)
    assert result.score == 0.6  # √(.9 × .4)
    assert result.passing
    assert result.question_scores == {"Is the answer polite?": 0.9, "Is the answer clear?": 0.4}
    assert result.judge == "scripted/default"
    assert result.feedback == (
        "Total 0.60 reaches the threshold 0.50.\n- 0.40  Is the answer clear?\n- 0.90  Is the answer polite?"
    )


def test_the_threshold_decides_what_passes(client: AsyncPiClient) -> None:
    """At the threshold a result passes, below it does not."""
    assert PiEvaluator([POLITE], client=client, threshold=0.9).evaluate(QUERY, ANSWER).passing
    result = PiEvaluator([POLITE], client=client, threshold=0.91).evaluate(QUERY, ANSWER)
    assert result.passing is False
    assert (result.feedback or "").startswith("Total 0.90 is below the threshold 0.91.")


def test_explanations_and_unscored_questions_are_in_the_feedback() -> None:
    """A reader sees why, and which questions have no score."""
    script = {
        "Is the answer polite?": Verdict(score=0.2, explanation="it is curt"),
        "Is the answer clear?": Verdict.unscored("the judge refused", method="scripted"),
    }
    with scripted_client(script) as client:
        result = PiEvaluator([POLITE, CLEAR], client=client, unscored="partial").evaluate(QUERY, ANSWER)
    assert (result.feedback or "").splitlines()[1:] == [
        "- 0.20  Is the answer polite? (it is curt)",
        "- unscored  Is the answer clear? (the judge refused)",
    ]
    assert result.unscored == {"Is the answer clear?": "the judge refused"}


def test_contexts_and_reference_enter_by_the_one_template(client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """The judge sees them under their headings; without them, the query alone."""
    evaluator = PiEvaluator([POLITE], client=client)
    evaluator.evaluate(QUERY, ANSWER, [PASSAGES[0]], reference="One week.")
    evaluator.evaluate(QUERY, ANSWER)
    assert judge.asked is not None
    assert [exchange.llm_input for exchange, _ in judge.asked] == [
        f"{WITH_CONTEXT}\n\n### Reference answer\nOne week.",
        QUERY,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_response_type_is_evaluated(client: AsyncPiClient, judge: ScriptedJudge, kind: str) -> None:
    """Its text is scored and its source nodes are the contexts; a stream keeps its text for the user."""
    response, text = responses()[kind]
    result = PiEvaluator([POLITE], client=client).evaluate_response(QUERY, response)
    assert (result.score, result.response, result.contexts) == (0.9, text, [PASSAGES[0]])
    assert judge.asked is not None
    assert judge.asked[0][0] == Exchange(WITH_CONTEXT, text)
    assert in_thread(lambda: str(response)) == text


@pytest.mark.parametrize("kind", KINDS)
async def test_every_response_type_is_evaluated_in_a_running_loop(client: AsyncPiClient, kind: str) -> None:
    """The async method, and the sync one as in a notebook, agree."""
    evaluator = PiEvaluator([POLITE], client=client)
    response, text = responses()[kind]
    result = await evaluator.aevaluate_response(QUERY, response, reference="One week.")
    assert (result.score, result.response, result.contexts) == (0.9, text, [PASSAGES[0]])
    again = evaluator.evaluate_response(QUERY, responses()[kind][0])
    assert (again.score, again.response) == (0.9, text)


async def test_a_stream_that_blocks_does_not_block_the_loop(client: AsyncPiClient) -> None:
    """A synchronous stream is read in a thread."""

    def slow() -> Generator[str, None, None]:
        time.sleep(0.2)
        yield "One week."

    evaluating = asyncio.create_task(
        PiEvaluator([POLITE], client=client).aevaluate_response(QUERY, StreamingResponse(slow()))
    )
    ticks = 0
    while not evaluating.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert evaluating.result().score == 0.9
    assert ticks >= 5


def test_a_stream_read_before_is_invalid_and_not_an_empty_answer(client: AsyncPiClient) -> None:
    """Scoring the nothing that is left would be a wrong number."""
    response = StreamingResponse(words())
    assert list(response.response_gen) == ["One ", "week."]
    result = PiEvaluator([POLITE], client=client).evaluate_response(QUERY, response)
    assert result.invalid_result
    assert result.score is None
    assert "read before" in (result.invalid_reason or "")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"query": QUERY}, "response is missing"),
        ({"query": QUERY, "response": 7}, "response is a int"),
        ({"query": QueryBundle(QUERY), "response": ANSWER}, "query is a QueryBundle"),
        ({"query": QUERY, "response": ANSWER, "contexts": PASSAGES[0]}, "contexts is one string"),
    ],
)
def test_an_exchange_that_cannot_be_scored_is_invalid(
    client: AsyncPiClient, given: dict[str, Any], reason: str
) -> None:
    """The reason names the argument; with raise_on_error it is raised."""
    result = PiEvaluator([POLITE], client=client).evaluate(**given)
    assert result.invalid_result
    assert reason in (result.invalid_reason or "")
    with pytest.raises(PiUsageError, match=reason):
        PiEvaluator([POLITE], client=client, raise_on_error=True).evaluate(**given)


def test_something_that_is_no_response_is_invalid(client: AsyncPiClient) -> None:
    """evaluate_response takes responses; a plain text belongs to evaluate."""
    result = PiEvaluator([POLITE], client=client).evaluate_response(QUERY, ANSWER)  # type: ignore[arg-type]
    assert "response is a str" in (result.invalid_reason or "")


def test_a_judge_without_an_answer_is_invalid_or_raises(client: AsyncPiClient) -> None:
    """No score is invented; raise_on_error gives the engine's own error."""
    spec = [{"question": "Unknown?"}]
    result = PiEvaluator(spec, client=client).evaluate(QUERY, ANSWER)
    assert (result.invalid_result, result.score, result.passing) == (True, None, None)
    assert "Unknown?" in (result.invalid_reason or "")
    with pytest.raises(PiStatusError, match=r"Unknown\?"):
        PiEvaluator(spec, client=client, raise_on_error=True).evaluate(QUERY, ANSWER)


def test_many_threads_share_one_evaluator(client: AsyncPiClient) -> None:
    """Sync calls and short-lived loops, eight at a time."""
    evaluator = PiEvaluator([POLITE], client=client)

    def work(number: int) -> float | None:
        if number % 2:
            return evaluator.evaluate(QUERY, ANSWER).score
        return asyncio.run(evaluator.aevaluate(QUERY, ANSWER)).score

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(64))) == [0.9] * 64


def test_prompts_are_not_silently_ignored(client: AsyncPiClient) -> None:
    """An evaluator without prompts says so when one is to be updated."""
    evaluator = PiEvaluator([POLITE], client=client)
    assert evaluator.get_prompts() == {}
    with pytest.raises(PiUsageError, match="no prompts"):
        evaluator.update_prompts({"eval_template": None})  # type: ignore[dict-item]


def test_wrong_settings_are_refused_where_they_are_given(client: AsyncPiClient) -> None:
    """Not when the first row is scored."""
    with pytest.raises(PiUsageError, match="threshold is 2"):
        PiEvaluator([POLITE], client=client, threshold=2)
    with pytest.raises(PiUsageError, match="scoring_spec"):
        PiEvaluator([], client=client)


# BatchEvalRunner itself calls a function that LlamaIndex has deprecated.
@pytest.mark.filterwarnings("ignore:asyncio_module:DeprecationWarning")
class TestBatchEvalRunner:
    """LlamaIndex's own runner, with real objects."""

    def test_it_is_reused_across_sync_calls(self, client: AsyncPiClient) -> None:
        """Each call has an event loop of its own, one after the other."""
        runner = BatchEvalRunner({"pi": PiEvaluator([POLITE], client=client)}, workers=4)
        for _ in range(3):
            results = in_thread(
                lambda: runner.evaluate_response_strs(
                    [QUERY] * 4, [ANSWER] * 4, [[PASSAGES[0]]] * 4, reference=["One week."] * 4
                )
            )
            assert [result.score for result in results["pi"]] == [0.9] * 4

    async def test_it_runs_async(self, client: AsyncPiClient) -> None:
        """Two evaluators, responses of two types."""
        evaluators = {
            "polite": PiEvaluator([POLITE], client=client),
            "clear": PiEvaluator([CLEAR], client=client),
        }
        given = [responses()["plain"][0], responses()["pydantic"][0]]
        results = await BatchEvalRunner(evaluators, workers=2).aevaluate_responses([QUERY] * 2, given)
        assert [result.score for result in results["polite"]] == [0.9, 0.9]
        assert [result.passing for result in results["clear"]] == [False, False]

    @pytest.mark.parametrize("streaming", [False, True])
    def test_it_queries_an_engine(self, client: AsyncPiClient, judge: ScriptedJudge, streaming: bool) -> None:
        """Answers of a real query engine, streamed ones too, with their contexts."""
        runner = BatchEvalRunner({"pi": PiEvaluator([POLITE], client=client)})
        engine = query_engine(streaming=streaming)
        results = in_thread(lambda: runner.evaluate_queries(engine, [QUERY, QUERY]))
        assert [(result.score, result.response) for result in results["pi"]] == [(0.9, ANSWER)] * 2
        assert judge.asked is not None
        assert PASSAGES[1] in judge.asked[0][0].llm_input

    def test_a_permanent_error_costs_no_waits(self, client: AsyncPiClient) -> None:
        """The runner repeats exceptions after four seconds and more; an invalid result it takes at once."""
        runner = BatchEvalRunner({"pi": PiEvaluator([{"question": "Unknown?"}], client=client)})
        started = time.perf_counter()
        results = in_thread(lambda: runner.evaluate_response_strs([QUERY] * 3, [ANSWER] * 3))
        assert time.perf_counter() - started < 3.0
        assert all(result.invalid_result for result in results["pi"])
