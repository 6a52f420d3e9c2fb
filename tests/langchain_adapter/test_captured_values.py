"""Values of any shape in what runs are given and give: kept as they were, whatever happens to them, at bounded cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from live_models import ANSWER
from questions import POLITE
from typing_extensions import TypedDict

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.langchain import PiScoreCallbackHandler, RunCounts

RUBRIC = [{"question": POLITE}]
CALL = {"name": "search", "args": {}, "id": "1", "type": "tool_call"}


@pytest.fixture
def scorer(client: AsyncPiClient) -> Iterator[BackgroundScorer]:
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink()) as scorer:
        yield scorer


def asks(**fields: Any) -> AIMessage:
    return AIMessage("I will look that up.", tool_calls=[CALL], **fields)


def no_calls(messages: list[Any]) -> None:
    messages[-1].tool_calls = []


def calls_cleared(messages: list[Any]) -> None:
    messages[-1].tool_calls.clear()


def dict_calls_cleared(messages: list[Any]) -> None:
    messages[-1]["tool_calls"].clear()


def calls_added(messages: list[Any]) -> None:
    messages[-1].tool_calls = [CALL]


def calls_appended(messages: list[Any]) -> None:
    messages[-1].tool_calls.append(CALL)


def roles_changed(messages: list[Any]) -> None:
    messages[0].role, messages[-1].role = "tool", "user"


def made_a_summary(messages: list[Any]) -> None:
    messages[0].additional_kwargs["lc_source"] = "summarization"


@pytest.mark.parametrize(
    ("messages", "change", "is_answered"),
    [
        ([HumanMessage("How long?"), asks()], no_calls, False),
        ([HumanMessage("How long?"), asks()], calls_cleared, False),
        (
            [{"role": "user", "content": "How long?"}, {"role": "assistant", "content": "Hm.", "tool_calls": [CALL]}],
            dict_calls_cleared,
            False,
        ),
        ([HumanMessage("How long?"), AIMessage(ANSWER)], calls_added, True),
        ([HumanMessage("How long?"), AIMessage(ANSWER)], calls_appended, True),
        ([ChatMessage("How long?", role="user"), ChatMessage(ANSWER, role="assistant")], roles_changed, True),
        ([HumanMessage("How long?", additional_kwargs={"a": 1})], made_a_summary, True),
    ],
    ids=["calls removed", "calls cleared", "calls of a mapping", "calls added", "calls appended", "roles", "summary"],
)
def test_what_a_message_was_is_what_counts(
    scorer: BackgroundScorer, messages: list[Any], change: Callable[[list[Any]], None], is_answered: bool
) -> None:
    """Whether it called tools, who said it, whether it stood for others: as it was when the run returned."""
    handler = PiScoreCallbackHandler(scorer)
    read = threading.Event()
    scorer.defer(read.wait, 10.0)
    if change is made_a_summary:
        RunnableLambda(lambda _: ANSWER).invoke(messages, {"callbacks": [handler]})
        change(messages)
    else:
        runnable = RunnableLambda(lambda _: {"messages": messages})
        change(runnable.invoke({"messages": messages[:1]}, {"callbacks": [handler]})["messages"])
    read.set()
    assert scorer.flush(10)
    scores = scorer.sink.scores  # type: ignore[attr-defined]
    assert [(score.llm_input, score.llm_output) for score in scores] == [("How long?", ANSWER)] * is_answered
    assert handler.counts() == RunCounts(runs=1, submitted=int(is_answered), unanswered=int(not is_answered))


class Talk(TypedDict, total=False):
    history: Annotated[list[Any], add_messages]
    context: list[str]


@pytest.mark.parametrize(
    "history", [[HumanMessage("How long?")], [HumanMessage("How long?"), AIMessage("A week.")]], ids=["asked", "told"]
)
@pytest.mark.parametrize("added", [{}, {"context": ["Repairs take a week."]}], ids=["nothing", "passages"])
def test_a_graph_that_gives_ids_to_what_it_was_given_adds_nothing(
    scorer: BackgroundScorer, history: list[Any], added: dict[str, Any]
) -> None:
    """LangGraph does so, within the messages themselves."""
    builder = StateGraph(Talk)
    builder.add_node("retrieve", lambda _: added)
    builder.add_edge(START, "retrieve")
    handler = PiScoreCallbackHandler(scorer)
    given = [message.model_copy(update={"id": None}) for message in history]
    builder.compile().invoke({"history": given}, {"callbacks": [handler]})
    assert given[-1].id is not None
    assert handler.counts() == RunCounts(runs=1, unanswered=1)


@pytest.mark.parametrize("role", ["assistant", "model", "bot"])
def test_an_answer_in_a_mapping_may_have_any_role_but_the_users(scorer: BackgroundScorer, role: str) -> None:
    """Providers call it what they like."""
    handler = PiScoreCallbackHandler(scorer)
    for said_by in (role, "user"):
        answered = {"role": said_by, "content": ANSWER}
        RunnableLambda(lambda _, answered=answered: answered).invoke("How long?", {"callbacks": [handler]})
    assert handler.counts() == RunCounts(runs=2, submitted=1, unanswered=1)


def test_a_message_that_is_changed_keeps_its_id(scorer: BackgroundScorer) -> None:
    """The score is of the response that was returned."""
    read = threading.Event()
    scorer.defer(read.wait, 10.0)
    runnable = RunnableLambda(lambda _: AIMessage(ANSWER, id="answer-1"))
    runnable.invoke("How long?", {"callbacks": [PiScoreCallbackHandler(scorer)]}).id = "another"
    read.set()
    assert scorer.flush(10)
    assert scorer.sink.scores[0].metadata["response_id"] == "answer-1"  # type: ignore[attr-defined]


def test_what_other_threads_change_meanwhile_costs_no_answer(scorer: BackgroundScorer) -> None:
    """A mapping and a list that grow and shrink while they are copied."""
    sessions: dict[str, Any] = {str(number): [number] for number in range(300)}
    log: list[Any] = [[number] for number in range(300)]
    stop = threading.Event()

    def other_requests() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            sessions[f"new {number % 50}"] = [1]
            sessions.pop(f"new {(number + 25) % 50}", None)
            log.append([1])
            del log[300:]

    thread = threading.Thread(target=other_requests)
    thread.start()
    handler = PiScoreCallbackHandler(scorer)
    runnable = RunnableLambda(lambda _: ANSWER)
    try:
        for _ in range(300):
            runnable.invoke({"question": "How long?", "sessions": sessions, "log": log}, {"callbacks": [handler]})
    finally:
        stop.set()
        thread.join()
    assert scorer.flush(30)
    assert handler.counts() == RunCounts(runs=300, submitted=300)


def shared(depth: int) -> Any:
    tree: Any = ["leaf"]
    for _ in range(depth):
        tree = [tree, tree]
    return tree


def cyclic() -> Any:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    schema["properties"]["child"] = schema
    return schema


def deep(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"inner": value}
    return value


@pytest.mark.parametrize(
    "entry",
    [shared(30), cyclic(), deep(900), [[0.5] * 1000 for _ in range(1000)], [{"a": 1}] * 100_000],
    ids=["shared", "cyclic", "deep", "table", "rows"],
)
def test_an_entry_that_is_not_read_costs_little_whatever_it_is(scorer: BackgroundScorer, entry: Any) -> None:
    """Trees with shared branches, cycles, depth and size: the answer is scored, and the application waits for none."""
    handler = PiScoreCallbackHandler(scorer)
    runnable = RunnableLambda(lambda _: ANSWER)
    started = time.perf_counter()
    runnable.invoke({"question": "How long?", "entry": entry}, {"callbacks": [handler]})
    assert time.perf_counter() - started < 5.0
    assert scorer.flush(10)
    assert [score.llm_input for score in scorer.sink.scores] == ["How long?"]  # type: ignore[attr-defined]


def test_a_text_that_is_absent_is_no_text(scorer: BackgroundScorer) -> None:
    """LangChain checks no assignment; an earlier turn without text is left out."""
    silent = HumanMessage("forgotten")
    silent.content = None  # type: ignore[assignment]
    handler = PiScoreCallbackHandler(scorer)
    inputs = {"messages": [silent, AIMessage("Yes?"), HumanMessage("How long?")]}
    RunnableLambda(lambda _: ANSWER).invoke(inputs, {"callbacks": [handler]})
    assert handler.counts() == RunCounts(runs=1, submitted=1)


@pytest.mark.parametrize("level", ["root", ["RunnableLambda"]])
def test_a_handler_that_is_attached_twice_counts_once(scorer: BackgroundScorer, level: Any) -> None:
    """By the chain and by the call, or twice in one list."""
    handler = PiScoreCallbackHandler(scorer, level=level)
    runnable = RunnableLambda(lambda _: ANSWER).with_config(callbacks=[handler])
    for _ in range(10):
        runnable.invoke("How long?", {"callbacks": [handler, handler]})
    assert scorer.flush(10)
    assert handler.counts() == RunCounts(runs=10, submitted=10)
    assert scorer.counts().scored == 10
