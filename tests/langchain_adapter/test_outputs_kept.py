"""Answers are read after the run has returned: what the application does to them in the meantime changes no score."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from live_models import ANSWER, calls_tool, look_up, says
from questions import POLITE

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.langchain import PiScoreCallbackHandler, RunCounts
from pi_integrations.models import compose_llm_input

RUBRIC = [{"question": POLITE}]


@pytest.fixture
def scorer(client: AsyncPiClient) -> Iterator[BackgroundScorer]:
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink()) as scorer:
        yield scorer


@contextmanager
def nothing_read(scorer: BackgroundScorer) -> Iterator[None]:
    """Nothing is read before the block is over."""
    over = threading.Event()
    scorer.defer(over.wait, 10)
    try:
        yield
    finally:
        over.set()


def scored(scorer: BackgroundScorer) -> list[tuple[str, str]]:
    assert scorer.flush(10)
    return [(score.llm_input, score.llm_output) for score in scorer.sink.scores]  # type: ignore[attr-defined]


def config(scorer: BackgroundScorer, **options: Any) -> Any:
    return {"callbacks": [PiScoreCallbackHandler(scorer, **options)]}


def appended(outputs: Any) -> None:
    outputs["messages"].append(AIMessage("Anything else?"))


def rewritten(outputs: Any) -> None:
    outputs["messages"][-1].content = "[removed]"


def emptied(outputs: Any) -> None:
    outputs.clear()


@pytest.mark.parametrize("change", [appended, rewritten, emptied])
def test_an_agents_state_is_scored_as_it_was_returned(scorer: BackgroundScorer, change: Callable[[Any], None]) -> None:
    """Its list, its messages and itself are the application's to change."""
    agent = create_agent(says(calls_tool(), ANSWER), tools=[look_up])
    with nothing_read(scorer):
        change(agent.invoke({"messages": [("user", "How long?")]}, config(scorer)))  # type: ignore[arg-type]
    told = compose_llm_input("How long?", contexts=["Repairs take a week."])
    assert scored(scorer) == [(told, ANSWER)]


def test_a_models_message_is_scored_as_it_was_returned(scorer: BackgroundScorer) -> None:
    """With its id."""
    with nothing_read(scorer):
        message = says(AIMessage(ANSWER, id="answer-1")).invoke("How long?", config(scorer))
        message.content = "[removed]"
    assert scored(scorer) == [("How long?", ANSWER)]
    assert scorer.sink.scores[0].metadata["response_id"] == "answer-1"  # type: ignore[attr-defined]


def test_messages_that_are_mappings_are_scored_as_they_were_returned(scorer: BackgroundScorer) -> None:
    """As of a graph whose state holds them as they came."""
    answered = [{"role": "user", "content": "How long?"}, {"role": "assistant", "content": ANSWER}]
    runnable = RunnableLambda(lambda _: {"messages": [dict(each) for each in answered]})
    with nothing_read(scorer):
        outputs = runnable.invoke({"messages": answered[:1]}, config(scorer))
        outputs["messages"][-1]["content"] = "[removed]"
    assert scored(scorer) == [("How long?", ANSWER)]


def test_other_outputs_are_scored_as_they_were_returned(scorer: BackgroundScorer) -> None:
    """A mapping, with the passages in it."""
    runnable = RunnableLambda(lambda _: {"answer": ANSWER, "contexts": ["Repairs take a week."]})
    with nothing_read(scorer):
        outputs = runnable.invoke({"question": "How long?"}, config(scorer))
        outputs["answer"] = "[removed]"
        outputs["contexts"].clear()
    assert scored(scorer) == [(compose_llm_input("How long?", contexts=["Repairs take a week."]), ANSWER)]


def test_functions_of_the_applications_are_called_before_the_run_returns(scorer: BackgroundScorer) -> None:
    """On its own thread, with the outputs themselves."""
    seen: list[Any] = []

    def read(outputs: Any) -> str:
        seen.append((outputs, threading.current_thread()))
        return str(outputs["draft"])

    runnable = RunnableLambda(lambda _: {"draft": ANSWER, "notes": []})
    outputs = runnable.invoke("How long?", config(scorer, output_key=read))
    ((read_outputs, thread),) = seen
    assert read_outputs is outputs
    assert thread is threading.current_thread()
    assert scored(scorer) == [("How long?", ANSWER)]


def test_runs_are_open_or_ended_but_never_lost(scorer: BackgroundScorer) -> None:
    """Whenever the handler is asked."""
    handler = PiScoreCallbackHandler(scorer)
    run_id = uuid4()
    handler.on_chain_start({}, "How long?", run_id=run_id)
    assert handler.counts() == RunCounts(runs=1, open=1)
    handler.on_chain_end(ANSWER, run_id=run_id)
    assert handler.counts() == RunCounts(runs=1, submitted=1)
    handler.on_chain_end(ANSWER, run_id=run_id)
    assert handler.counts() == RunCounts(runs=1, submitted=1)


def test_a_run_of_a_hundred_thousand_steps_is_remembered_in_bounds(scorer: BackgroundScorer) -> None:
    """Steps that have ended are forgotten while the run goes on, and those that have not are still part of it."""
    handler = PiScoreCallbackHandler(scorer)
    root, early = uuid4(), uuid4()
    handler.on_chain_start({}, "How long?", run_id=root)
    handler.on_chain_start({}, {}, run_id=early, parent_run_id=root)
    for _ in range(100_000):
        step = uuid4()
        handler.on_tool_start({}, "", run_id=step, parent_run_id=early)
        handler.on_tool_end("", run_id=step)
    assert handler._runs.remembered < 50_000
    handler.on_chain_start({}, {}, run_id=(late := uuid4()), parent_run_id=early)
    for inner in (late, early, root):
        handler.on_chain_end(ANSWER, run_id=inner)
    assert handler.counts() == RunCounts(runs=1, submitted=1)
    assert scored(scorer) == [("How long?", ANSWER)]


def test_runs_that_were_cut_off_hold_on_to_nothing(scorer: BackgroundScorer) -> None:
    """Of a tool that never says that it ended, nothing of its run's inputs is kept."""

    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    handler = PiScoreCallbackHandler(scorer)
    for _ in range(100):
        root = uuid4()
        handler.on_chain_start({}, {"input": "How long?", "file": Large()}, run_id=root)
        handler.on_tool_start({}, "", run_id=uuid4(), parent_run_id=root)
        handler.on_chain_error(ConnectionError("gone"), run_id=root)
    assert handler.counts() == RunCounts(runs=100, incomplete=100)
    assert Large.alive == 0
