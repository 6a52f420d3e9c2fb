"""`PiScorer` as a step of LCEL chains: callbacks, streaming, tracing context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from questions import CLEAR, POLITE

from pi_integrations import AsyncPiClient, PiUsageError
from pi_integrations.langchain import PiScorer
from pi_integrations.models import ScoreResult, compose_llm_input
from pi_integrations.testing import Exchange, ScriptedJudge

SPEC = [{"question": POLITE, "label": "Polite"}, {"question": CLEAR, "label": "Clear"}]
ANSWER = "A week, as a rule."


@pytest.fixture
def scorer(client: AsyncPiClient) -> PiScorer:
    return PiScorer(SPEC, client=client, name="rubric")


@pytest.fixture
def answering() -> Runnable[Any, Any]:
    """A prompt and a model that streams word by word."""
    return ChatPromptTemplate.from_template("{question}") | GenericFakeChatModel(messages=cycle([AIMessage(ANSWER)]))


class Recorder(BaseCallbackHandler):
    """Notes each chain run: name, tags and metadata, inputs, and how it ended."""

    def __init__(self) -> None:
        self.runs: dict[Any, dict[str, Any]] = {}

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.runs[run_id] = {"inputs": inputs, **kwargs}

    def on_chain_end(self, outputs: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.runs[run_id]["outputs"] = outputs

    def on_chain_error(self, error: BaseException, *, run_id: Any, **kwargs: Any) -> None:
        self.runs[run_id]["error"] = error

    def named(self, name: str) -> dict[str, Any]:
        return next(run for run in self.runs.values() if run["name"] == name)


class AsyncRecorder(AsyncCallbackHandler):
    """The names of the runs that ended."""

    def __init__(self) -> None:
        self.started: dict[Any, str] = {}
        self.ended: list[str] = []

    async def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.started[run_id] = kwargs["name"]

    async def on_chain_end(self, outputs: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.ended.append(self.started[run_id])


def test_a_chain_ends_in_scores(scorer: PiScorer, answering: Runnable[Any, Any], judge: ScriptedJudge) -> None:
    """The model's message is the output, the question the input."""
    chain: Runnable[Any, ScoreResult] = {"llm_input": itemgetter("question"), "llm_output": answering} | scorer
    assert chain.invoke({"question": "How long?"}).total_score == 0.6
    assert judge.asked is not None
    assert judge.asked[0][0] == Exchange("How long?", ANSWER)


def test_a_retrieval_chain_passes_its_documents(
    scorer: PiScorer, answering: Runnable[Any, Any], judge: ScriptedJudge
) -> None:
    """Documents enter the input by the template."""
    retrieve = RunnableLambda(lambda _: [Document("Repairs take a week.")])
    chain: Runnable[Any, ScoreResult] = {
        "llm_input": itemgetter("question"),
        "llm_output": answering,
        "contexts": retrieve,
    } | scorer
    chain.invoke({"question": "How long?"})
    assert judge.asked is not None
    assert judge.asked[0][0].llm_input == compose_llm_input("How long?", contexts=["Repairs take a week."])


@pytest.mark.parametrize("is_async", [False, True])
async def test_callbacks_see_the_run(scorer: PiScorer, is_async: bool) -> None:
    """Name, tags, metadata, inputs and outputs, as of any runnable."""
    recorder = Recorder()
    config: RunnableConfig = {"callbacks": [recorder], "tags": ["nightly"], "metadata": {"build": 7}}
    given: Any = {"llm_input": "Hi", "llm_output": "Hello!"}
    result = await scorer.ainvoke(given, config) if is_async else scorer.invoke(given, config)
    run = recorder.named("rubric")
    assert (run["tags"], run["metadata"]["build"]) == (["nightly"], 7)
    assert (run["inputs"], run["outputs"]) == (given, result)


def test_callbacks_see_a_failure(scorer: PiScorer) -> None:
    """The run ends with the error that was raised."""
    recorder = Recorder()
    with pytest.raises(PiUsageError) as caught:
        scorer.invoke({"llm_input": "Hi"}, {"callbacks": [recorder]})  # type: ignore[typeddict-item]
    assert recorder.named("rubric")["error"] is caught.value


async def test_config_reaches_the_scorer_through_a_chain(scorer: PiScorer, answering: Runnable[Any, Any]) -> None:
    """Async handlers are called, and the scorer's run is a child of the chain's."""
    recorder, async_recorder = Recorder(), AsyncRecorder()
    chain = {"llm_input": itemgetter("question"), "llm_output": answering} | scorer
    await chain.ainvoke({"question": "How long?"}, {"callbacks": [recorder, async_recorder]})
    assert recorder.named("rubric")["parent_run_id"] is not None
    assert "rubric" in async_recorder.ended


def test_streaming_a_chain_yields_the_scores_once(scorer: PiScorer, answering: Runnable[Any, Any]) -> None:
    """One value, made of the whole streamed answer."""
    chain: Runnable[Any, ScoreResult] = {"llm_input": itemgetter("question"), "llm_output": answering} | scorer
    assert [part.total_score for part in chain.stream({"question": "How long?"})] == [0.6]


async def test_streaming_beside_an_answer_does_not_hold_it_up(
    scorer: PiScorer, answering: Runnable[Any, Any], judge: ScriptedJudge
) -> None:
    """The words arrive one by one before anything is scored; the scores come last."""
    chain = {"llm_input": itemgetter("question"), "llm_output": answering} | RunnablePassthrough.assign(scores=scorer)
    words: list[str] = []
    scores: list[ScoreResult] = []
    async for part in chain.astream({"question": "How long?"}):
        if "llm_output" in part:
            assert judge.asked == []
            words.append(part["llm_output"].content)
        if "scores" in part:
            scores.append(part["scores"])
    assert ("".join(words), len(words) > 3) == (ANSWER, True)
    assert [result.total_score for result in scores] == [0.6]


def test_only_its_own_input_is_drained(scorer: PiScorer) -> None:
    """Another branch's endless stream is not waited for."""

    def endless(_: Iterator[Any]) -> Iterator[str]:
        yield from cycle(["tick"])

    async def aendless(_: AsyncIterator[Any]) -> AsyncIterator[str]:
        for tick in cycle(["tick"]):
            yield tick

    chain = RunnableParallel(scores=scorer, ticks=RunnableGenerator(endless, aendless))
    stream = chain.stream({"llm_input": "Hi", "llm_output": "Hello!"})
    for part in stream:
        if "scores" in part:
            assert part["scores"].total_score == 0.6
            break
    stream.close()  # type: ignore[attr-defined]


async def test_astream_events_name_the_scorer(scorer: PiScorer) -> None:
    """The event stream carries its end with the scores."""
    given: Any = {"llm_input": "Hi", "llm_output": "Hello!"}
    events = [event async for event in scorer.astream_events(given, version="v2")]
    assert events[-1]["event"] == "on_chain_end"
    assert (events[-1]["name"], events[-1]["data"]["output"].total_score) == ("rubric", 0.6)
