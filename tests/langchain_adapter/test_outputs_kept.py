"""Answers are read after the run has returned: what the application does to them in the meantime changes no score."""

from __future__ import annotations

import asyncio
import threading
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from live_models import ANSWER, TwoPassages, calls_tool, look_up, says
from pydantic import BaseModel
from questions import POLITE
from typing_extensions import TypedDict

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink, ScorerCounts
from pi_integrations.langchain import PiScoreCallbackHandler, RunCounts
from pi_integrations.models import compose_llm_input

RUBRIC = [{"question": POLITE}]


@pytest.fixture
def scorer(client: AsyncPiClient) -> Iterator[BackgroundScorer]:
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink()) as scorer:
        yield scorer


@contextmanager
def nothing_read(scorer: BackgroundScorer, *, seconds: float = 10.0) -> Iterator[None]:
    """Nothing is read before the block is over, or the seconds are."""
    over = threading.Event()
    scorer.defer(over.wait, seconds)
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


@dataclass
class Shape:
    """What a runnable returns, and what the application does to it."""

    make: Callable[[], Any]
    change: Callable[[Any], object]
    contexts: tuple[str, ...] = ()


SHAPES = {
    "a message under another key": Shape(
        lambda: {"output": AIMessage(ANSWER)}, lambda out: setattr(out["output"], "content", "[removed]")
    ),
    "a message of blocks": Shape(
        lambda: AIMessage([{"type": "text", "text": ANSWER}]), lambda out: out.content[0].update(text="[removed]")
    ),
    "a state that ends in blocks": Shape(
        lambda: {"messages": [HumanMessage("How long?"), AIMessage([{"type": "text", "text": ANSWER}])]},
        lambda out: out["messages"][-1].content[0].update(text="[removed]"),
    ),
    "documents": Shape(
        lambda: {"answer": ANSWER, "context": [Document("Repairs take a week.")]},
        lambda out: setattr(out["context"][0], "page_content", "Rep"),
        ("Repairs take a week.",),
    ),
    "a mapping in a mapping": Shape(
        lambda: {"answer": {"text": ANSWER}},
        lambda out: out["answer"].update(text="[removed]"),
    ),
    "a tuple of messages": Shape(
        lambda: {"messages": (AIMessage(ANSWER),)}, lambda out: setattr(out["messages"][0], "content", "[removed]")
    ),
    "a mapping of another kind": Shape(lambda: UserDict(output=ANSWER), lambda out: out.update(output="[removed]")),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_outputs_of_every_shape_are_scored_as_they_were_returned(scorer: BackgroundScorer, shape: Shape) -> None:
    """What can be kept is read later, what cannot is read at once."""
    with nothing_read(scorer, seconds=0.5):
        shape.change(RunnableLambda(lambda _: shape.make()).invoke("How long?", config(scorer)))
    (score,) = scored(scorer)
    assert score[0] == compose_llm_input("How long?", contexts=shape.contexts)
    assert ANSWER in score[1]
    assert "removed" not in score[1]


def test_what_a_retriever_found_is_scored_as_it_was(scorer: BackgroundScorer) -> None:
    """Though it is in no outputs, and the application still has it."""
    found: list[Document] = []

    def answer(asked: str, config: RunnableConfig) -> str:
        found.extend(TwoPassages().invoke(asked, config))
        return ANSWER

    with nothing_read(scorer):
        RunnableLambda(answer).invoke("How long?", config(scorer))
        for document in found:
            document.page_content = "[removed]"
    passages = ["Repairs take a week.", "We sell shoes."]
    assert scored(scorer) == [(compose_llm_input("How long?", contexts=passages), ANSWER)]


def test_inputs_that_are_used_again_are_scored_as_they_were(scorer: BackgroundScorer) -> None:
    """A message, a mapping, and one in a state, with the next question written into them."""
    message, state = HumanMessage(""), {"messages": [{"role": "user", "content": ""}]}
    nested: Any = {"input": {"content": ""}}
    runnable = RunnableLambda(lambda _: ANSWER)
    with nothing_read(scorer):
        for number in range(3):
            message.content = state["messages"][0]["content"] = nested["input"]["content"] = f"Question {number}?"
            for inputs in ([message], state, nested):
                runnable.invoke(inputs, config(scorer))
    assert [asked for asked, _ in scored(scorer)] == [f"Question {number}?" for number in range(3) for _ in range(3)]


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


def test_tools_that_never_end_are_remembered_in_bounds(scorer: BackgroundScorer) -> None:
    """As of some versions of LangChain, when they are cancelled."""
    handler = PiScoreCallbackHandler(scorer)
    for _ in range(50_000):
        handler.on_tool_start({}, "", run_id=uuid4())
    assert handler._runs.remembered <= 30_000
    assert handler.counts() == RunCounts()


@pytest.mark.parametrize("steps", [100, 19_000, 26_000])
def test_work_that_outlives_a_long_run_is_no_answer(scorer: BackgroundScorer, steps: int) -> None:
    """The run that has just ended is the last to be forgotten, however long ago it began."""
    handler = PiScoreCallbackHandler(scorer)
    root = uuid4()
    handler.on_chain_start({}, "How long?", run_id=root)
    for _ in range(steps):
        handler.on_chain_start({}, {}, run_id=(step := uuid4()), parent_run_id=root)
        handler.on_chain_end({}, run_id=step)
    handler.on_chain_end(ANSWER, run_id=root)
    assert handler.counts() == RunCounts(runs=1, submitted=1)
    handler.on_chain_start({}, "Left behind", run_id=(left := uuid4()), parent_run_id=root)
    handler.on_chain_end("Done.", run_id=left)
    assert handler.counts() == RunCounts(runs=1, submitted=1)


def test_ids_that_are_no_uuids_are_as_good(scorer: BackgroundScorer) -> None:
    """LangChain takes them for chains."""
    handler = PiScoreCallbackHandler(scorer)
    handler.on_chain_start({}, "How long?", run_id="mine")  # type: ignore[arg-type]
    handler.on_tool_start({}, "", run_id=(step := uuid4()), parent_run_id="mine")  # type: ignore[arg-type]
    handler.on_tool_end("", run_id=step)
    handler.on_chain_end(ANSWER, run_id="mine")  # type: ignore[arg-type]
    assert handler.counts() == RunCounts(runs=1, submitted=1)
    assert scorer.flush(10)
    assert scorer.sink.scores[0].metadata["run_id"] == "mine"  # type: ignore[attr-defined]


def test_a_graph_interrupted_and_resumed_is_read_in_order_behind_a_full_queue(scorer: BackgroundScorer) -> None:
    """What its first run was asked is known when its second is read."""

    class State(TypedDict, total=False):
        question: str
        answer: str

    class Answer(TypedDict):
        answer: str

    def ask(state: State) -> State:
        interrupt("Shall I?")
        return {"answer": ANSWER}

    builder = StateGraph(State, output_schema=Answer)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    handler = PiScoreCallbackHandler(scorer)
    options: Any = {"callbacks": [handler], "configurable": {"thread_id": "1"}}
    with nothing_read(scorer):
        for _ in range(999):
            scorer.defer(lambda: None)
        graph.invoke({"question": "How long?"}, options)
        graph.invoke(Command(resume="yes"), options)
    assert scored(scorer) == [("How long?", ANSWER)]
    assert handler.counts() == RunCounts(runs=2, submitted=1, unanswered=1)


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError])
def test_a_filter_that_ends_the_process_ends_nothing(client: AsyncPiClient, kind: type[BaseException]) -> None:
    """The exchange counts as failed; the run is not open for ever, and later ones are scored."""

    def names(name: str | None) -> bool:
        if name == "bad":
            raise kind
        return True

    with BackgroundScorer(RUBRIC, client=client, names=names) as scorer:
        handler = PiScoreCallbackHandler(scorer)
        for name in ("bad", "good"):
            RunnableLambda(lambda _: ANSWER).invoke("How long?", {"callbacks": [handler], "run_name": name})
        assert scorer.flush(10)
        assert handler.counts() == RunCounts(runs=2, submitted=2)
        assert scorer.counts() == ScorerCounts(submitted=2, scored=1, failed=1)


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError, KeyboardInterrupt])
@pytest.mark.parametrize("key", ["input_key", "output_key", "context_key"])
def test_a_function_that_ends_the_process_ends_no_more_than_its_answer(
    scorer: BackgroundScorer, kind: type[BaseException], key: str
) -> None:
    """An error of the handler's, of which the scorer never heard; Ctrl-C alone reaches the application."""

    def leave(value: Any) -> str:
        raise kind

    handler = PiScoreCallbackHandler(scorer, **{key: leave})  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt) if kind is KeyboardInterrupt else nullcontext():
        RunnableLambda(lambda _: {"answer": ANSWER}).invoke("How long?", {"callbacks": [handler]})
    assert handler.counts() == RunCounts(runs=1, errors=1)
    assert scorer.counts() == ScorerCounts()


class Profile(BaseModel):
    """What cannot be kept."""

    name: str


@pytest.mark.parametrize("profile", [{"name": "Ada"}, Profile(name="Ada"), (Profile(name="Ada"),)], ids=repr)
@pytest.mark.parametrize("options", [{}, {"output_key": lambda outputs: outputs["answer"]}], ids=["read", "by a key"])
def test_filters_are_asked_and_waited_for_on_the_scorers_thread(
    client: AsyncPiClient, profile: Any, options: Any
) -> None:
    """Whatever the run returns, and whoever picks the answer from it; also behind a filter that hangs."""
    asked: list[threading.Thread] = []
    over = threading.Event()

    def hangs(name: str | None) -> bool:
        asked.append(threading.current_thread())
        return over.wait(10)

    graph = RunnableLambda(lambda _: {"answer": ANSWER, "profile": profile})
    with BackgroundScorer(RUBRIC, client=client, names=hangs, sink=MemorySink()) as scorer:
        handler = PiScoreCallbackHandler(scorer, **options)
        for _ in range(3):
            graph.invoke("How long?", {"callbacks": [handler], "metadata": {"thread_id": "1"}})
        assert not any(scorer.sink.scores)  # type: ignore[attr-defined]
        over.set()
        assert scored(scorer) == [("How long?", ANSWER)] * 3
    assert threading.current_thread() not in asked


@pytest.mark.parametrize("options", [{}, {"output_key": lambda outputs: outputs["answer"]}], ids=["read", "by a key"])
def test_a_resumed_graph_is_read_before_it_returns_with_what_it_was_asked(
    scorer: BackgroundScorer, options: Any
) -> None:
    """Where its state cannot be kept, or a function reads it; though nothing of its first run was read yet."""

    class State(TypedDict, total=False):
        question: str
        profile: Any
        answer: str

    class Answer(TypedDict):
        answer: str
        profile: Any

    def ask(state: State) -> State:
        interrupt("Shall I?")
        return {"answer": ANSWER, "profile": (Profile(name="Ada"),)}

    builder = StateGraph(State, output_schema=Answer)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    handler = PiScoreCallbackHandler(scorer, **options)
    given: Any = {"callbacks": [handler], "configurable": {"thread_id": "1"}}
    with nothing_read(scorer):
        for question in ("How long?", "When?"):
            graph.invoke({"question": question}, given)
            graph.invoke(Command(resume="yes"), given)["answer"] = "[removed]"
    assert scored(scorer) == [("How long?", ANSWER), ("When?", ANSWER)]
    assert handler.counts() == RunCounts(runs=4, submitted=2, unanswered=2)


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
