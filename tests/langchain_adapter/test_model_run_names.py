"""Models are called in the scores what LangChain's own tracers call them, though LangChain gives their runs no name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from live_models import ANSWER, says

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.langchain import PiScoreCallbackHandler, RunCounts

RUBRIC = [{"question": "Is the answer polite?"}]

RUNS: dict[str, tuple[Any, str]] = {
    "a chat model": (lambda: FakeListChatModel(responses=[ANSWER]), "FakeListChatModel"),
    "one of the application's": (lambda: says(ANSWER), "ScriptedModel"),
    "a plain model": (lambda: FakeListLLM(responses=[ANSWER]), "FakeListLLM"),
    "a model with arguments": (lambda: FakeListChatModel(responses=[ANSWER]).bind(stop=["."]), "FakeListChatModel"),
    "a model with a name": (lambda: FakeListChatModel(responses=[ANSWER], name="support"), "support"),
    "a run with a name": (lambda: says(ANSWER).with_config(run_name="support"), "support"),
    "a chain": (lambda: RunnableLambda(lambda _: ANSWER, name="support"), "support"),
}


@pytest.fixture
def scorer(client: AsyncPiClient) -> Iterator[BackgroundScorer]:
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink()) as scorer:
        yield scorer


def names(scorer: BackgroundScorer) -> list[str | None]:
    assert scorer.flush(10)
    return [score.name for score in scorer.sink.scores]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("make", "name"), RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("streams", [False, True], ids=["invoke", "stream"])
def test_a_score_has_the_name_that_tracers_give_the_run(
    scorer: BackgroundScorer, make: Any, name: str, streams: bool
) -> None:
    """Also where it is streamed."""
    traced, runnable = RunCollectorCallbackHandler(), make()
    config: Any = {"callbacks": [PiScoreCallbackHandler(scorer), traced]}
    if streams:
        list(runnable.stream("How long?", config))
    else:
        runnable.invoke("How long?", config)
    assert names(scorer) == [traced.traced_runs[0].name] == [name]


@pytest.mark.parametrize("make", [FakeListChatModel, FakeListLLM])
def test_models_are_chosen_by_name(scorer: BackgroundScorer, make: Any) -> None:
    """Inside a chain, and of several."""
    handler = PiScoreCallbackHandler(scorer, level=[make.__name__])
    chain: Runnable[Any, Any] = RunnableLambda(lambda asked: asked) | make(responses=[ANSWER])
    chain.invoke("How long?", {"callbacks": [handler]})
    says(ANSWER).invoke("How long?", {"callbacks": [handler]})
    assert names(scorer) == [make.__name__]
    assert handler.counts() == RunCounts(runs=1, submitted=1)


def test_a_scorer_filters_models_by_name(client: AsyncPiClient) -> None:
    """By the same."""
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink(), names=["FakeListChatModel"]) as scorer:
        for model in (FakeListChatModel(responses=[ANSWER]), says(ANSWER)):
            model.invoke("How long?", {"callbacks": [PiScoreCallbackHandler(scorer)]})
        assert names(scorer) == ["FakeListChatModel"]
        assert scorer.counts().filtered_out == 1


@pytest.mark.parametrize(
    ("serialized", "name"),
    [
        ({"name": "Model", "id": ["a", "Other"]}, "Model"),
        ({"id": ["langchain", "Model"]}, "Model"),
        ({"id": []}, None),
        ({}, None),
        (None, None),
    ],
)
def test_whatever_describes_a_model_is_taken(scorer: BackgroundScorer, serialized: Any, name: str | None) -> None:
    """Older integrations give only the path of the class; some nothing."""
    handler = PiScoreCallbackHandler(scorer)
    run_id = uuid4()
    handler.on_llm_start(serialized, ["How long?"], run_id=run_id)
    handler.on_llm_end(FakeListLLM(responses=[ANSWER]).generate(["How long?"]), run_id=run_id)
    assert names(scorer) == [name]
