"""Pydantic models and dataclasses as the states of graphs and as answers: read like mappings where a part is meant."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompt_values import StringPromptValue
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from live_models import ANSWER
from pydantic import BaseModel, ConfigDict, Field, RootModel
from questions import POLITE
from typing_extensions import TypedDict

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScorer, MemorySink
from pi_integrations.langchain import PiScoreCallbackHandler, RunCounts
from pi_integrations.langchain.exchange import ExchangeReader
from pi_integrations.models import compose_llm_input

RUBRIC = [{"question": POLITE}]


class Mapped(TypedDict, total=False):
    question: str
    answer: str
    contexts: list[str]


class Modelled(BaseModel):
    question: str
    answer: str = ""
    contexts: list[str] = []


@dataclass
class Classed:
    question: str
    answer: str = ""
    contexts: list[str] = field(default_factory=list)


class ModelledTalk(BaseModel):
    messages: Annotated[list[Any], add_messages] = []
    language: str = "en"


@dataclass
class ClassedTalk:
    messages: Annotated[list[Any], add_messages] = field(default_factory=list)
    language: str = "en"


@pytest.fixture
def scorer(client: AsyncPiClient) -> Iterator[BackgroundScorer]:
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink()) as scorer:
        yield scorer


def scored(scorer: BackgroundScorer) -> list[tuple[str, str]]:
    assert scorer.flush(10)
    return [(score.llm_input, score.llm_output) for score in scorer.sink.scores]  # type: ignore[attr-defined]


def run(scorer: BackgroundScorer, inputs: Any, outputs: Any, **keys: Any) -> RunCounts:
    """What the handler counts of a chain that is given `inputs` and gives `outputs`."""
    handler = PiScoreCallbackHandler(scorer, **keys)
    RunnableLambda(lambda _: outputs).invoke(inputs, {"callbacks": [handler]})
    return handler.counts()


def graph(schema: Any, update: dict[str, Any]) -> Any:
    builder = StateGraph(schema)
    builder.add_node("answer", lambda state: update)
    builder.add_edge(START, "answer")
    return builder.compile()


@pytest.mark.parametrize("key", [None, "question", lambda state: getattr(state, "question", "") or state["question"]])
@pytest.mark.parametrize("make", [Mapped, Modelled, Classed])
@pytest.mark.parametrize("contexts", [[], ["Repairs take a week."]], ids=["alone", "with contexts"])
def test_a_graph_reads_the_same_whatever_its_state_is(
    scorer: BackgroundScorer, make: Callable[..., Any], key: Any, contexts: list[str]
) -> None:
    """With a key and without one."""
    given = {"question": "How long?"} | ({"contexts": contexts} if contexts else {})
    handler = PiScoreCallbackHandler(scorer, input_key=key, output_key="answer")
    graph(make, {"answer": ANSWER}).invoke(make(**given), {"callbacks": [handler]})
    assert scored(scorer) == [(compose_llm_input("How long?", contexts=contexts), ANSWER)]


@pytest.mark.parametrize("make", [ModelledTalk, ClassedTalk])
def test_a_graphs_messages_are_read_as_an_agents(scorer: BackgroundScorer, make: Callable[..., Any]) -> None:
    """Earlier turns too."""
    messages = [HumanMessage("Hi"), AIMessage("Hello!"), HumanMessage("How long?")]
    handler = PiScoreCallbackHandler(scorer)
    graph(make, {"messages": [AIMessage(ANSWER)]}).invoke(make(messages=messages), {"callbacks": [handler]})
    told = compose_llm_input("How long?", history=[("user", "Hi"), ("assistant", "Hello!")])
    assert scored(scorer) == [(told, ANSWER)]


class Search(BaseModel):
    text: str
    limit: int = 3


class Extended(BaseModel):
    model_config = ConfigDict(extra="allow")


@dataclass
class Asked:
    text: str = "Hello?"
    limit: int = 3
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Unfinished:
    text: str
    draft: str = field(init=False)


INPUTS = {
    "the only field that was given": Search(text="How long?"),
    "the only field that is not the default": Asked("How long?", 3),
    "the only field that there is": RootModel[str]("How long?"),
    "messages": RootModel[list[HumanMessage]]([HumanMessage("How long?")]),
    "a field that was not declared": Extended(question="How long?"),  # type: ignore[call-arg]
    "a field without a value beside it": Unfinished("How long?"),
    "a prompt": StringPromptValue(text="How long?"),
}


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_what_is_clear_needs_no_key(scorer: BackgroundScorer, inputs: Any) -> None:
    """As in a mapping, into which nobody writes what is so by default."""
    run(scorer, inputs, ANSWER)
    assert scored(scorer) == [("How long?", ANSWER)]


def test_fields_that_are_all_as_by_default_are_fields(
    scorer: BackgroundScorer, caplog: pytest.LogCaptureFixture
) -> None:
    """Rather than that nothing was asked."""
    assert run(scorer, Asked(), ANSWER).errors == 1
    assert (
        "inputs holds 'text', 'limit', 'tags', and which of them is meant is not clear; pass input_key=" in caplog.text
    )


def test_a_document_is_not_taken_apart(scorer: BackgroundScorer) -> None:
    """It is JSON, or its text by name."""
    document = Document("How long?")
    run(scorer, document, ANSWER)
    run(scorer, document, ANSWER, input_key="page_content")
    assert [asked for asked, _ in scored(scorer)] == [document.model_dump_json(), "How long?"]


class Reply(BaseModel):
    answer: str | None
    internal_notes: str = "not for anybody"
    sources: list[str] = []


@dataclass
class ClassedReply:
    answer: str | None
    internal_notes: str = "not for anybody"
    sources: list[str] = field(default_factory=list)


@pytest.mark.parametrize("make", [Reply, ClassedReply])
def test_a_name_picks_a_field_of_an_answer(scorer: BackgroundScorer, make: Callable[..., Any]) -> None:
    """The answer, and what it was made from, which may be the default."""
    reply = make(ANSWER, sources=["S"]) if make is ClassedReply else make(answer=ANSWER, sources=["S"])
    run(scorer, "Q", reply, output_key="answer")
    run(scorer, "Q", reply, output_key="answer", context_key="sources")
    run(scorer, "Q", reply, output_key="answer", context_key=lambda outputs: outputs.sources)
    run(scorer, "Q", reply, output_key=lambda outputs: outputs.answer, context_key="sources")
    run(scorer, make(**{"answer": "Q"}), {"answer": ANSWER}, context_key="sources", input_key="answer")
    with_source = compose_llm_input("Q", contexts=["S"])
    assert scored(scorer) == [("Q", ANSWER), *[(with_source, ANSWER)] * 3, ("Q", ANSWER)]


@pytest.mark.parametrize("make", [Reply, ClassedReply])
def test_a_name_that_is_no_field_is_an_error(
    scorer: BackgroundScorer, caplog: pytest.LogCaptureFixture, make: Callable[..., Any]
) -> None:
    """It names those there are; nothing is scored."""
    assert run(scorer, "Q", make(answer=ANSWER), output_key="text").errors == 1
    assert "output_key is 'text', but outputs holds 'answer', 'internal_notes', 'sources'" in caplog.text
    assert scored(scorer) == []


@pytest.mark.parametrize("make", [Reply, ClassedReply])
def test_without_a_key_an_answer_is_its_json(scorer: BackgroundScorer, make: Callable[..., Any]) -> None:
    """All of it: no part was asked for."""
    run(scorer, "Q", make(answer=ANSWER))
    notes = '"internal_notes":"not for anybody","sources":[]'
    assert scored(scorer) == [("Q", f'{{"answer":"{ANSWER}",{notes}}}')]


@pytest.mark.parametrize("make", [Reply, ClassedReply])
def test_what_was_written_into_the_input_and_given_back_is_an_answer(
    scorer: BackgroundScorer, make: Callable[..., Any]
) -> None:
    """As in a mapping."""

    def write(state: Any) -> Any:
        state.answer = ANSWER
        return state

    handler = PiScoreCallbackHandler(scorer, input_key="internal_notes", output_key="answer")
    RunnableLambda(write).invoke(make(answer=None), {"callbacks": [handler]})
    assert [answer for _, answer in scored(scorer)] == [ANSWER]


@pytest.mark.parametrize(
    "output", [ANSWER, AIMessage(ANSWER), [HumanMessage("Q"), AIMessage(ANSWER)], StringPromptValue(text=ANSWER), 7]
)
def test_a_name_leaves_texts_and_messages_as_they_are(output: Any) -> None:
    """There is nothing in them to choose from."""
    exchange = ExchangeReader(input_key="question", output_key="answer").read(None, output)
    assert exchange.llm_output == (ANSWER if output != 7 else "7")


class Opaque:
    answer = ANSWER


@pytest.mark.parametrize("output", [[{"answer": ANSWER, "notes": "N"}], Opaque(), (ANSWER, "N", 3)])
def test_a_name_for_what_has_no_names_is_an_error(
    scorer: BackgroundScorer, caplog: pytest.LogCaptureFixture, output: Any
) -> None:
    """Rather than all of it scored."""
    assert run(scorer, "Q", output, output_key="answer").errors == 1
    kind = type(output).__name__
    assert (
        f"output_key is 'answer', but outputs is a {kind} and has no entries by name; pass output_key=" in caplog.text
    )


def test_what_cannot_be_read_says_which_key_to_pass(scorer: BackgroundScorer, caplog: pytest.LogCaptureFixture) -> None:
    """The application's own objects are not ours to change."""
    assert run(scorer, Opaque(), ANSWER).errors == 1
    assert run(scorer, "Q", {"answer": Opaque()}).errors == 1
    assert "inputs holds a value of type Opaque" in caplog.text
    assert "or input_key= the name of a text in inputs or a function that takes inputs and returns one" in caplog.text


class Old(BaseModel):
    question: str
    old: str = Field("", deprecated=True)


def test_reading_fields_changes_nothing_and_warns_of_nothing(scorer: BackgroundScorer) -> None:
    """Of those that nobody should use any more."""
    inputs = Old(question="Q", old="O")
    before = inputs.model_dump()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(scorer, inputs, Reply(answer=ANSWER), output_key="answer")
    assert inputs.model_dump() == before
    assert inputs.model_fields_set == {"question", "old"}
    assert scored(scorer) == [("Q", ANSWER)]


@pytest.mark.parametrize(
    ("outputs", "keys"),
    [
        ({"answer": None}, {}),
        ({"answer": ""}, {}),
        ({"answer": None, "steps": 3}, {}),
        ({"answer": []}, {}),
        ({"anything": None}, {}),
        (Reply(answer=None), {"output_key": "answer"}),
        (ClassedReply(answer=" "), {"output_key": "answer"}),
        ({"a": None, "b": "B"}, {"output_key": "a"}),
        ({"a": "A"}, {"output_key": lambda outputs: None}),
        ({"context": ["C"]}, {}),
        (None, {}),
        (None, {"output_key": "answer"}),
        ("", {"output_key": "answer"}),
    ],
)
def test_an_answer_that_is_nothing_is_unanswered(scorer: BackgroundScorer, outputs: Any, keys: dict[str, Any]) -> None:
    """It ended well, and there is nothing to score: no error."""
    assert run(scorer, "Q", outputs, **keys) == RunCounts(runs=1, unanswered=1)
    assert scored(scorer) == []
