"""`PiScorer` by itself: what it takes and gives, its errors, many threads and loops."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from adapter_judges import CountingJudge, StuckJudge
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from questions import CLEAR, POLITE

from pi_integrations import AsyncPiClient, PiClient, PiStatusError, PiUsageError
from pi_integrations.langchain import PiScorer
from pi_integrations.models import ScoreResult, compose_llm_input
from pi_integrations.testing import Exchange, ScriptedJudge, embedded, scripted_client

SPEC: list[dict[str, Any]] = [{"question": POLITE, "label": "Polite"}, {"question": CLEAR, "label": "Clear"}]
EXCHANGE: Any = {"llm_input": "Hi", "llm_output": "Hello!"}


def test_invoke_gives_a_score_result(client: AsyncPiClient) -> None:
    """The scores by label and the geometric total: sqrt(.9 · .4) = .6."""
    result = PiScorer(SPEC, client=client).invoke(EXCHANGE)
    assert isinstance(result, ScoreResult)
    assert (result.question_scores, result.total_score) == ({"Polite": 0.9, "Clear": 0.4}, 0.6)


async def test_a_sync_client_serves_ainvoke_too(client: AsyncPiClient) -> None:
    """Either client may be given."""
    result = await PiScorer(SPEC, client=PiClient(client=client)).ainvoke(EXCHANGE)
    assert result.total_score == 0.6


async def test_invoke_works_inside_a_running_loop(client: AsyncPiClient) -> None:
    """As in a notebook."""
    assert PiScorer(SPEC, client=client).invoke(EXCHANGE).total_score == 0.6


def test_options_reach_the_engine(client: AsyncPiClient) -> None:
    """Arithmetic mean of .9 and .4; the unanswered question is left out."""
    spec = [*SPEC, {"question": "Unknown?"}]
    scorer = PiScorer(spec, client=client, aggregation_method="arithmetic_mean", unscored="partial")
    result = scorer.invoke(EXCHANGE)
    assert result.total_score == 0.65
    assert result.unscored is not None
    assert list(result.unscored) == ["Unknown?"]


def test_messages_and_prompt_values_are_read(client: AsyncPiClient, judge: ScriptedJudge) -> None:
    """A prompt value brings its system prompt and history; other keys of the mapping are ignored."""
    prompt = ChatPromptTemplate.from_messages(
        [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello!"), ("human", "{question}")]
    ).invoke({"question": "How long?"})
    scorer = PiScorer([{"question": POLITE}], client=client)
    scorer.invoke(
        {"llm_input": prompt, "llm_output": AIMessage("A week."), "contexts": ["C"], "reference": "R", "k": 1}  # type: ignore[typeddict-unknown-key]
    )
    history = [("user", "Hi"), ("assistant", "Hello!")]
    expected = compose_llm_input("How long?", system_prompt="Be brief.", history=history, contexts=["C"], reference="R")
    assert judge.asked == [(Exchange(expected, "A week."), POLITE)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("text", "takes a mapping with llm_input and llm_output, not a str"),
        ({"llm_output": "A"}, "llm_input is missing from the input of PiScorer: 'llm_output'"),
        ({"llm_input": "Q", "output": "A"}, "llm_output is missing"),
    ],
)
def test_a_wrong_input_is_refused(client: AsyncPiClient, given: Any, says: str) -> None:
    """The message says what is missing and what was given."""
    with pytest.raises(PiUsageError, match=says):
        PiScorer(SPEC, client=client).invoke(given)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scoring_spec": []}, "scoring_spec: is empty"),
        ({"scoring_spec": [{"question": "a?", "weight": -1}]}, r"scoring_spec\[0\]\.weight"),
        ({"scoring_spec": SPEC, "aggregation_method": "MEDIAN"}, "aggregation_method"),
        ({"scoring_spec": SPEC, "unscored": "zero"}, "unscored is 'zero'"),
        ({"scoring_spec": SPEC, "client": "http://localhost"}, "client is a str"),
    ],
)
def test_wrong_options_are_refused_at_construction(options: dict[str, Any], says: str) -> None:
    """Before anything is scored."""
    with pytest.raises(PiUsageError, match=says):
        PiScorer(**options)


def test_no_endpoint_is_an_error_at_the_first_score() -> None:
    """A chain can be built without an endpoint; scoring says how to configure one."""
    scorer = PiScorer(SPEC)
    with pytest.raises(PiUsageError, match="WITHPI_API_KEY"):
        scorer.invoke(EXCHANGE)


def test_a_failed_score_raises(client: AsyncPiClient) -> None:
    """A question that the judge cannot answer is an error, not a number."""
    with pytest.raises(PiStatusError, match="Unknown"):
        PiScorer([{"question": "Unknown?"}], client=client).invoke(EXCHANGE)


def test_no_dump_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr, nor LangChain's dump, nor pydantic's; and it says honestly that it cannot be loaded."""
    monkeypatch.setenv("WITHPI_API_KEY", "sk-secret")
    for scorer in (PiScorer(SPEC), PiScorer(SPEC, client=AsyncPiClient(base_url="http://localhost:1"))):
        shown = [repr(scorer), str(scorer), dumps(scorer), str(scorer.model_dump()), scorer.model_dump_json()]
        assert not any("sk-secret" in text or "PiClient" in text for text in shown)
        assert '"not_implemented"' in dumps(scorer)


def test_its_input_and_output_have_schemas(client: AsyncPiClient) -> None:
    """As other runnables have, for tools and servers built on them."""
    scorer = PiScorer(SPEC, client=client)
    taken = scorer.get_input_jsonschema()["$defs"]["ScorerInput"]
    assert set(taken["required"]) == {"llm_input", "llm_output"}
    assert "total_score" in scorer.get_output_jsonschema()["properties"]


def test_fields_are_configurable(client: AsyncPiClient) -> None:
    """LangChain makes a configured copy through the constructor."""
    field = ConfigurableField(id="mean")
    scorer = PiScorer(SPEC, client=client).configurable_fields(aggregation_method=field)
    assert scorer.invoke(EXCHANGE, {"configurable": {"mean": "ARITHMETIC_MEAN"}}).total_score == 0.65
    assert scorer.invoke(EXCHANGE).total_score == 0.6


def test_batch_scores_fifty_in_order() -> None:
    """Each input gets its own scores."""
    many = {str(n): n / 100 for n in range(50)}
    with scripted_client(lambda exchange, _: many[exchange.llm_output]) as sync_client:
        scorer = PiScorer([{"question": POLITE}], client=sync_client, aggregation_method="ARITHMETIC_MEAN")
        inputs: list[Any] = [{"llm_input": "", "llm_output": text} for text in many]
        results = scorer.batch(inputs)
    assert [result.total_score for result in results] == list(many.values())


async def test_abatch_keeps_to_the_clients_limit() -> None:
    """LangChain's own limit is none; the judge sees four at a time and never more."""
    judge = CountingJudge(default=0.5, delay=0.005)
    async with embedded(judge=judge, max_concurrency=4) as client:
        inputs: list[Any] = [{"llm_input": str(n), "llm_output": "A"} for n in range(40)]
        results = await PiScorer([{"question": POLITE}], client=client).abatch(inputs)
    assert [result.total_score for result in results] == [0.5] * 40
    assert judge.peak == 4


def test_a_failure_in_a_batch_keeps_its_neighbours(client: AsyncPiClient) -> None:
    """`return_exceptions` gives the error in its place."""
    good: Any = EXCHANGE
    bad: Any = {"llm_input": "Q"}
    results = PiScorer(SPEC, client=client).batch([good, bad, good], return_exceptions=True)
    assert [isinstance(result, PiUsageError) for result in results] == [False, True, False]


async def test_cancelling_ainvoke_cancels_the_judge() -> None:
    """Nobody waits for an answer that nobody wants."""
    judge = StuckJudge()
    async with embedded(judge=judge) as client:
        task = asyncio.create_task(PiScorer(SPEC, client=client).ainvoke(EXCHANGE))
        assert await asyncio.to_thread(judge.called.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(judge.cancelled.wait, 10)


def test_eight_threads_with_short_lived_loops(client: AsyncPiClient) -> None:
    """Each thread runs `asyncio.run` over and over with the one scorer."""
    scorer = PiScorer(SPEC, client=client)

    def work(_: int) -> list[float]:
        return [asyncio.run(scorer.ainvoke(EXCHANGE)).total_score for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        totals = [total for part in pool.map(work, range(8)) for total in part]
    assert totals == [0.6] * 160
